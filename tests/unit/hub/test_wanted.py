"""Which files of a hub model a request needs."""

from dataclasses import replace
from pathlib import Path

import pytest

from embconvert.errors import SourceError
from embconvert.hub.wanted import wanted_files
from support.plans import REQUEST

NAMES = ["config.json", "model.safetensors", "README.md", "tokenizer.json", "onnx/model.onnx"]


def test_a_model_without_modules_has_its_files_at_the_root(tmp_path: Path) -> None:
    assert wanted_files(REQUEST, tmp_path, NAMES, adapter_only=False) == [
        "README.md", "config.json", "model.safetensors", "tokenizer.json",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "others", [("modeling.py", "Modeling.py"), ("caf\u00e9.py", "cafe\u0301.py")], ids=ascii
)
def test_names_that_are_one_file_on_some_file_systems_are_refused(
    tmp_path: Path, others: tuple[str, str]
) -> None:
    request = replace(REQUEST, trust_remote_code=True)
    wanted_files(request, tmp_path, [*NAMES, others[0]], adapter_only=False)
    with pytest.raises(SourceError, match="differ only in case or accents"):
        wanted_files(request, tmp_path, [*NAMES, *others], adapter_only=False)
