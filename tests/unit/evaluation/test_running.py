"""Files are checked before they are opened for an evaluation."""

from pathlib import Path

import pytest

from embconvert.errors import FidelityError
from embconvert.evaluation.running import GraphRunner
from embconvert.models.forms import FileForm, FormKind
from embconvert.models.kinds import Kind
from support.examples import graph


def test_weights_that_the_manifest_does_not_list_are_not_read(tmp_path: Path) -> None:
    """OpenVINO takes whatever is beside a file under the usual name."""
    record = graph(tmp_path, "model", 1000, forms=(FileForm(kind=FormKind.OPENVINO),))
    (tmp_path / record.path).write_text('<?xml version="1.0"?>\n<net name="m"/>')
    (tmp_path / record.path).with_suffix(".bin").write_bytes(b"unlisted")
    with pytest.raises(FidelityError, match="reads other files than the manifest lists"):
        GraphRunner(
            record.artifact(tmp_path), tmp_path, kind=Kind.EMBEDDING, rules=None, output_rules=None
        )
