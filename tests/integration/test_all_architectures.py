"""Every text model that transformers has converts, or is refused with a reason: none is a bug.

Here some of them; all, which takes the better part of an hour, with EMBCONVERT_ALL_ARCHITECTURES=1.
"""

import os
import shutil
from pathlib import Path

import pytest

from embconvert.console import Progress
from embconvert.errors import EmbconvertError
from embconvert.export.exporter import Exporter
from embconvert.models.choices import Output, Overrides
from embconvert.pipeline.tasks import load_source, trace_source
from embconvert.source.folder import resolve_folder
from support.all_architectures import build, text_model_types

pytestmark = pytest.mark.integration

_ALL = bool(os.environ.get("EMBCONVERT_ALL_ARCHITECTURES"))
#: One that converts, one without a forward for texts, one of images and text, one without operator.
_SAMPLE = ("camembert", "dpr", "clip", "gpt2")


class Silent:
    def warn(self, message: str) -> None:
        del message

    def advance(self, amount: int) -> None:
        del amount

    def tell(self, progress: Progress) -> None:
        del progress


@pytest.mark.parametrize("model_type", text_model_types() if _ALL else _SAMPLE)
def test_a_model_converts_or_is_refused_with_its_reason_once(
    model_type: str, tmp_path: Path
) -> None:
    model = build(model_type, tmp_path / "model")
    if model is None:
        assert _ALL, "it cannot be built any more: choose another for the sample"
        pytest.skip("no small one can be built without knowing more of it")
    folder = tmp_path / "out"
    (folder / ".work").mkdir(parents=True)
    for file in model.glob("*.json"):
        shutil.copy(file, folder)
    try:
        resolved = resolve_folder(model, model_id=model_type)
        load_source(
            Silent(), resolved, folder, device="cpu", overrides=Overrides(),
            trust_remote_code=False, may_connect=True,
        )  # fmt: skip
        trace_source(
            Silent(), folder / "model.onnx", opset=17, exporter=Exporter.TRACE, output=Output.BOTH
        )
    except EmbconvertError as error:
        assert error.exit_code in (3, 4), error.message
        assert error.message
        assert error.hint
        parts = [part for part in error.message.split(": ") if len(part) > 20]
        assert len(set(parts)) == len(parts), error.message
        assert _ALL or model_type == "dpr", error.message
        if model_type == "dpr":
            assert "cannot embed texts with the architecture dpr" in error.message
            assert error.exit_code == 4
