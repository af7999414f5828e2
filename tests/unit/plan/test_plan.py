"""From a request to steps."""

import json

import pytest

from embconvert.errors import SourceError, UsageError
from support.plans import RESOLVED, plan


@pytest.mark.parametrize(
    ("options", "files"),
    [
        ("", ["model.onnx", "model_opt1.onnx"]),
        ("--optimize 0", ["model.onnx"]),
        ("--optimize 0 --quantize QInt8", ["model.onnx", "model_opt0_QInt8.onnx"]),
        (
            "--optimize 99 --quantize Float16,QInt8Static",
            ["model.onnx", "model_opt99.onnx", "model_opt99_Float16.onnx",
             "model_opt99_QInt8Static.onnx"],
        ),
    ],
)  # fmt: skip
def test_all_makes_the_files_of_the_script_it_descends_from(options: str, files: list[str]) -> None:
    steps = plan(f"all --model_id m {options}").steps
    assert [step.file for step in steps] == [f"onnx/{file}" for file in files]


@pytest.mark.parametrize(
    ("available", "source", "file"),
    [
        (["model.onnx"], "model.onnx", "model_opt0_QInt8.onnx"),
        (["model.onnx", "model_opt2.onnx"], "model_opt2.onnx", "model_opt2_QInt8.onnx"),
        (["model.onnx", "model_opt2.onnx", "model_opt1.onnx"], "model_opt1.onnx",
         "model_opt1_QInt8.onnx"),
    ],
)  # fmt: skip
def test_quantize_prefers_the_portable_optimized_graph(
    available: list[str], source: str, file: str
) -> None:
    (step,) = plan(
        "quantize --model_id m --quantize QInt8", *(f"onnx/{a}" for a in available)
    ).steps
    assert (step.source, step.file) == (f"onnx/{source}", f"onnx/{file}")


@pytest.mark.parametrize(
    "line", ["optimize --model_id m", "quantize --model_id m --quantize QInt8"]
)
def test_without_an_export_there_is_nothing_to_work_on(line: str) -> None:
    with pytest.raises(SourceError) as caught:
        plan(line)
    assert "embconvert export --model_id m" in caught.value.hint


@pytest.mark.parametrize(
    ("options", "needed", "others"),
    [
        ("--quantize Q8 --min_onnxruntime 1.22", "1.23", "Q4, Q4F16, QInt8"),
        ("--quantize Q4 --min_onnxruntime 1.20.1", "1.22", "supports QInt8"),
        ("--quantize QFLOAT8E4M3FN --min_onnxruntime 1.15", "1.16", "QInt8, QUInt8, Float16"),
        ("--quantize Q4 --table_bits 8 --min_onnxruntime 1.22", "1.23", "supports QInt8"),
    ],
)
def test_what_the_oldest_runtime_cannot_run_is_refused_with_what_it_can(
    options: str, needed: str, others: str
) -> None:
    with pytest.raises(UsageError, match=f"needs ONNX Runtime {needed}") as caught:
        plan(f"all --model_id m {options}")
    assert others in caught.value.hint
    assert plan(f"all --model_id m {options.partition(' --min')[0]} --min_onnxruntime 1.23").steps


def test_a_scale_per_token_needs_a_newer_runtime_than_other_8_bit_recipes() -> None:
    line = "all --model_id m --quantize QInt8 --min_onnxruntime"
    with pytest.raises(UsageError, match=r"token_scales needs ONNX Runtime 1\.16") as caught:
        plan(f"{line} 1.15")
    assert plan(f"{line} 1.16").steps
    assert plan(f"{line} 1.15 {caught.value.hint.removeprefix('add ')}").steps


def test_skipping_validation_sets_no_floor_and_says_so() -> None:
    skipped = plan("all --model_id m --skip_validation")
    assert all(step.floor is None for step in skipped.steps)
    assert any("skip_validation" in remark for remark in skipped.remarks)


def test_it_is_said_that_no_sizes_are_inferred_if_no_graph_is_optimized() -> None:
    def remarks(line: str) -> str:
        return " ".join(plan(f"{line} --model_id m --skip_shape_inference").remarks)

    assert "--skip_shape_inference" not in remarks("all")
    for line in ("all --optimize 0", "quantize --quantize Q8 --model_path m.onnx"):
        assert "--skip_shape_inference: no graph is optimized" in remarks(line)


def test_the_disk_must_hold_every_file_and_the_largest_temporary_one() -> None:
    count = RESOLVED.parameters
    assert plan("all --model_id m --optimize 0").disk_need_bytes() == 4 * count
    both = plan("all --model_id m --quantize Float16,QInt8")
    assert both.disk_need_bytes() == (4 + 4 + 2 + 1) * count
    assert both.disk_need_bytes(["onnx/model_opt1_Float16.onnx"]) == 2 * count
    assert both.disk_need_bytes([]) == 0
    # ONNX Runtime maps the weights from a file of its own for its passes.
    passed = plan("all --model_id m --optimize 99 --quantize QInt8")
    assert passed.disk_need_bytes() == (4 + 4 + 1 + 4) * count


@pytest.mark.parametrize("options", ["", "--quantize QInt8", "--quantize auto --max_size 30%"])
def test_a_plan_is_json_for_every_program_with_null_for_no_limit(options: str) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    text = json.dumps(plan(f"all --model_id m {options}").as_json())
    found = json.loads(text, parse_constant=refuse)
    assert found["steps"][0]["floor"]["relative_diff"] == 0.01
    assert found["steps"][0]["floor"]["rank_correlation"] == 0.999
    if found["search"] is not None:
        (tried, *_) = found["search"]["candidates"]
        assert set(tried["floor"].values()) == {None}
        json.loads(tried["settings"]["budget"], parse_constant=refuse)
        assert found["search"]["budget"]["floor"]["mean_cosine"] == 0.995
