"""From a request to steps."""

from pathlib import Path
from typing import Any

import pytest

from embconvert.cli.main import parse
from embconvert.errors import SourceError, UsageError
from embconvert.models.architectures import read_architecture
from embconvert.models.compat import oldest_onnxruntime
from embconvert.models.values import ResolvedModel
from embconvert.plan.plan import Plan, make_plan

RESOLVED = ResolvedModel(
    model_id="m",
    revision=None,
    folder=Path("m"),
    files=(),
    config={},
    architecture=read_architecture({"model_type": "bert", "dim": 8, "n_heads": 2}),
    max_seq_length=8,
    has_modules=True,
    parameters=22_713_216,
)


def plan(line: str, *available: str) -> Plan:
    return make_plan(
        parse(line.split())[1],
        RESOLVED,
        output_dir="out",
        available=available,
        calibration_digest="c",
    )


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


def test_a_key_changes_with_whatever_decides_the_bytes() -> None:
    base = plan("all --model_id m --quantize QInt8Static").steps
    keys = {step.key("source", {"torch": "1"}) for step in base}
    for options in (
        "--opset 18", "--pooling cls", "--no_per_channel", "--no_reduce_range",
        "--calibration_method percentile", "--quant_format QOperator",
    ):  # fmt: skip
        other = plan(f"all --model_id m --quantize QInt8Static {options}").steps
        assert {step.key("source", {"torch": "1"}) for step in other} != keys
    assert base[0].key("other", {"torch": "1"}) not in keys
    assert base[0].key("source", {"torch": "2"}) not in keys
    same = plan("all --model_id m --quantize QInt8Static --quiet --min_cosine 0.1").steps
    assert {step.key("source", {"torch": "1"}) for step in same} == keys


@pytest.mark.parametrize(
    ("options", "needed", "others"),
    [
        ("--quantize Q8 --min_onnxruntime 1.22", "1.23", "Q4, QInt8"),
        ("--quantize Q4 --min_onnxruntime 1.20.1", "1.22", "runs QInt8"),
        ("--quantize QFLOAT8E4M3FN --min_onnxruntime 1.15", "1.16", "QInt8, QUInt8, Float16"),
        ("--quantize Q4 --table_bits 8 --min_onnxruntime 1.22", "1.23", "runs QInt8"),
    ],
)
def test_what_the_oldest_runtime_cannot_run_is_refused_with_what_it_can(
    options: str, needed: str, others: str
) -> None:
    with pytest.raises(UsageError, match=f"needs ONNX Runtime {needed}") as caught:
        plan(f"all --model_id m {options}")
    assert others in caught.value.hint
    assert plan(f"all --model_id m {options.partition(' --min')[0]} --min_onnxruntime 1.23").steps


def test_recipes_are_all_on_unless_chosen_and_change_the_key() -> None:
    def settings(options: str) -> Any:
        return plan(f"all --model_id m --quantize Q4 {options}").steps[-1].settings

    assert settings("")["recipes"] == ("split", "gptq", "mixed")
    assert settings("--recipes mixed")["recipes"] == ("mixed",)
    assert settings("--recipes none")["recipes"] == ()
    assert "calibration" not in settings("--recipes none")


def test_skipping_validation_sets_no_floor_and_says_so() -> None:
    skipped = plan("all --model_id m --skip_validation")
    assert all(step.floor is None for step in skipped.steps)
    assert any("skip_validation" in remark for remark in skipped.remarks)


@pytest.mark.parametrize(
    ("config", "heads"),
    [
        ({"num_attention_heads": 12, "hidden_size": 8}, 12),
        ({"n_heads": 6}, 6),
        ({"text_config": {"num_attention_heads": 4}}, 4),
        ({"num_attention_heads": True}, None),
        ({}, None),
    ],
)
def test_head_counts_are_found_by_any_of_their_names(
    config: dict[str, Any], heads: int | None
) -> None:
    assert read_architecture({"model_type": "x", **config}).num_heads == heads


def test_a_config_without_a_model_type_is_refused() -> None:
    with pytest.raises(ValueError, match="model_type"):
        read_architecture({})


def test_the_oldest_runtime_is_that_of_the_newest_part() -> None:
    assert oldest_onnxruntime(17, 8, []) == "1.15"
    assert oldest_onnxruntime(19, 9, []) == "1.16"
    assert oldest_onnxruntime(20, 8, []) == "1.17"
    assert oldest_onnxruntime(17, 8, ["com.microsoft.RotaryEmbedding"]) == "1.17"
    with pytest.raises(ValueError, match="no ONNX Runtime"):
        oldest_onnxruntime(99, 8, [])


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
