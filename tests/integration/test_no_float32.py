"""--no_float32: quantized files straight from the source's weights."""

from pathlib import Path

import pytest

from support import zoo
from support.command_line import embconvert, files_in

pytestmark = pytest.mark.integration


def test_the_quantized_files_are_those_of_a_run_with_float32(tmp_path: Path) -> None:
    """From a half-precision source, whose weights are cast on the way."""
    model = zoo.build_model("qwen3", tmp_path / "model", pooling="lasttoken", dtype="bfloat16")
    quantized = ("--quantize", "Q8,QUInt8", "--min_cosine", 0.5)
    runs = {
        name: embconvert(
            "all", "--model_id", model, "--output_parent_dir", tmp_path / name, *quantized, *more
        )
        for name, more in (("with", ()), ("without", ("--no_float32",)))
    }
    for outcome in runs.values():
        assert outcome.code == 0, outcome.stderr
    kept, left_out = (files_in(tmp_path / name / "model" / "onnx") for name in runs)
    assert set(left_out) == {"model_opt1_Q8.onnx", "model_opt1_QUInt8.onnx"}
    assert set(kept) == {*left_out, "model.onnx", "model_opt1.onnx"}
    hashes = [{a["path"]: a["sha256"] for a in r.manifest["artifacts"]} for r in runs.values()]
    assert hashes[1].items() <= hashes[0].items()
    assert all(
        a["fidelity"]["similarity"]["mean"] > 0.5 for a in runs["without"].manifest["artifacts"]
    )

    again = embconvert(
        "all", "--model_id", model, "--output_parent_dir", tmp_path / "without", *quantized,
        "--no_float32",
    )  # fmt: skip
    assert again.code == 0, again.stderr
    assert "load the source" not in again.stderr
    assert "up to date" in again.stderr


def test_without_a_quantized_file_nothing_would_be_left(tiny_bert: Path) -> None:
    outcome = embconvert("all", "--model_id", tiny_bert, "--no_float32")
    assert outcome.code == 2
    assert "--no_float32 without --quantize leaves no file to publish" in outcome.stderr
