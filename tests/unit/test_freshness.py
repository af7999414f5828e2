"""What is up to date is known from the manifest and the sizes of files alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from examples import fidelity, graph, published

from embconvert.fidelity.texts import calibration_texts
from embconvert.manifest import ArtifactRecord
from embconvert.models.choices import Command, Layout, PoolingMode, Precision
from embconvert.pipeline.freshness import current_manifest
from embconvert.plan.keys import versions
from embconvert.plan.plan import make_steps
from embconvert.plan.search import make_search
from embconvert.request.records import Request

COMMIT = "1234567890" * 4
REQUEST = Request(
    command=Command.ALL, model_id="org/m", quantize=(Precision.QINT8,), min_cosine=0.98
)
CALIBRATION = calibration_texts(None).digest


def convert(folder: Path, request: Request = REQUEST) -> None:
    """Leaves what the request would leave, a search's second candidate."""
    search = make_search(request, CALIBRATION)
    steps = (*make_steps(request, CALIBRATION), *(search.candidates[1:2] if search else ()))
    made: dict[str, ArtifactRecord] = {}
    folder.mkdir(exist_ok=True)
    for step in steps:
        digest = made[step.source].digest if step.source else "0" * 64
        name = step.file.rpartition("/")[2].removesuffix(".onnx")
        made[step.file] = graph(
            folder, name, 1000,
            key=step.key(digest, versions()), precision=step.precision,
            fidelity=fidelity(0.011, bin_number=20) if step.stage == "quantize" else
            fidelity(1e-9, bin_number=0),
        )  # fmt: skip
    published(folder, *made.values())


def is_current(folder: Path, source: str = COMMIT, **changes: Any) -> bool:
    return current_manifest(replace(REQUEST, **changes), folder, source) is not None


def test_what_was_made_of_the_same_is_up_to_date(tmp_path: Path) -> None:
    assert not is_current(tmp_path / "m")
    convert(tmp_path / "m")
    assert is_current(tmp_path / "m")
    # What doesn't decide the files may differ.
    assert is_current(tmp_path / "m", quiet=True, device="cuda", revision="main", quantize=())


@pytest.mark.parametrize(
    "changes",
    [
        {"source": "f" * 40},
        {"trust_remote_code": True},
        {"opset": 18},
        {"pooling": PoolingMode.CLS},
        {"optimize": 2},
        {"quantize": (Precision.QINT8, Precision.FLOAT16)},
        {"per_channel": False},
        {"min_cosine": 0.99},
        {"layout": Layout.FASTEMBED},
        {"min_onnxruntime": (1, 15)},
    ],
)
def test_another_source_option_or_floor_is_work(changes: dict[str, Any], tmp_path: Path) -> None:
    convert(tmp_path / "m")
    assert not is_current(tmp_path / "m", **changes)


def test_another_library_is_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convert(tmp_path / "m")
    newer = {**versions(), "onnxruntime": "99"}
    monkeypatch.setattr("embconvert.plan.keys.versions", lambda: newer)
    assert not is_current(tmp_path / "m")


@pytest.mark.parametrize("file", ["onnx/model.onnx", "tokenizer_config.json", "embconvert.json"])
def test_a_file_that_is_gone_or_cut_off_is_work(file: str, tmp_path: Path) -> None:
    convert(tmp_path / "m")
    path = tmp_path / "m" / file
    path.write_bytes(path.read_bytes()[:-2])
    assert not is_current(tmp_path / "m")
    path.unlink()
    assert not is_current(tmp_path / "m")


def test_whatever_a_search_ended_with_is_up_to_date(tmp_path: Path) -> None:
    request = replace(REQUEST, quantize=(), auto=True)
    convert(tmp_path / "m", request)
    assert current_manifest(request, tmp_path / "m", COMMIT) is not None
    assert not is_current(tmp_path / "m")  # which is made for a budget, and so is not this file
