"""The steps of --layout openvino, and what has no place there."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from embconvert.errors import UsageError
from embconvert.manifest.layouts import LAYOUTS
from embconvert.models.choices import Layout, OptimizationLevel, Precision
from embconvert.plan.jobs import build_jobs
from embconvert.plan.steps import Stage
from support.plans import REQUEST, plan

ALL = "all --model_id m --layout openvino"
INSTALLED = all(map(find_spec, ("openvino", "nncf")))
needs_openvino = pytest.mark.skipif(not INSTALLED, reason="openvino is an extra: see Makefile")


@needs_openvino
def test_each_precision_is_made_from_the_exported_graph() -> None:
    exported, *made = plan(f"{ALL} --quantize Float16,QInt8Static").steps
    assert exported.file == "onnx/model.onnx"
    assert [(step.file, step.precision) for step in made] == [
        ("openvino/openvino_model.xml", Precision.FLOAT32),
        ("openvino/openvino_model_float16.xml", Precision.FLOAT16),
        ("openvino/openvino_model_qint8_quantized.xml", Precision.QINT8_STATIC),
    ]
    for step in made:
        assert (step.stage, step.source) == (Stage.DERIVE, exported.file)
        assert step.level is OptimizationLevel.NONE
        assert step.floor is not None


@needs_openvino
def test_export_alone_gives_the_float32_file() -> None:
    found = plan("export --model_id m --layout openvino")
    assert [step.file for step in found.steps] == [
        "onnx/model.onnx", "openvino/openvino_model.xml",
    ]  # fmt: skip
    assert any("no optimized ONNX file is written" in remark for remark in found.remarks)


@needs_openvino
def test_only_calibrated_files_depend_on_calibration_texts() -> None:
    by_precision = {step.precision: step for step in plan(f"{ALL} --quantize Q8,QInt8Static").steps}
    assert "calibration" in by_precision[Precision.QINT8_STATIC].settings
    assert "calibration" not in by_precision[Precision.Q8].settings
    assert by_precision[Precision.Q8].settings["openvino"]


@needs_openvino
def test_a_conversion_needs_memory_for_the_weights_twice() -> None:
    found, usual = (
        replace(plan(line), parameters=500_000_000) for line in (ALL, "all --model_id m")
    )
    weights = 4 * found.parameters
    assert found.memory_need_bytes > usual.memory_need_bytes + weights
    jobs = {job.name: job for job in build_jobs(found, {}, REQUEST, in_pieces=False)}
    assert jobs["derive openvino/openvino_model.xml"].memory_bytes > 2 * weights


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("--quantize QInt8", "cannot load QInt8"),
        ("--quantize auto", "searches among ONNX graphs"),
        ("--quantize Q8 --no_float32", "needs the float32 graph"),
        ("--shape 1x8", "--shape, --format and --tokenizer are for ONNX"),
        ("--format ort", "--shape, --format and --tokenizer are for ONNX"),
        ("--quantize QInt8Static --recipes smooth", "--recipes has no effect"),
        ("--quantize QInt8Static --quant_format QOperator", "--quant_format has no effect"),
        ("--quantize Q4 --table_bits 8", "--table_bits has no effect"),
        ("--quantize QInt8Static --no_per_channel", "--per_channel has no effect"),
        ("--quantize Q8 --calibration_dataset texts.txt", "--calibration_dataset has no effect"),
        ("--operators standard", "--operators has no effect"),
        ("--skip_shape_inference", "--skip_shape_inference has no effect"),
        ("--output sentence", "in sentence-transformers last_hidden_state"),
    ],
)
def test_what_has_no_place_there_is_refused_before_work_starts(options: str, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan(f"{ALL} {options}")
    assert problem in caught.value.message


def test_what_is_not_installed_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del tmp_path
    monkeypatch.setattr("sys.path", [])
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    monkeypatch.setitem(__import__("sys").modules, "nncf", None)
    with pytest.raises(UsageError, match="needs openvino and nncf") as caught:
        plan(ALL)
    assert caught.value.hint == "run: pip install 'embconvert[openvino]'"


def test_programs_take_the_float32_file_without_a_name() -> None:
    names = LAYOUTS[Layout.OPENVINO].names
    assert names[Precision.FLOAT32] == "openvino/openvino_model.xml"
    # sentence-transformers' own warning names only files that begin so.
    assert all(name.startswith("openvino/openvino") for name in names.values())
