"""What identifies a step's file."""

import dataclasses
from dataclasses import replace
from typing import Any

import pytest

from embconvert.errors import UsageError
from embconvert.models.choices import BLOCK_BITS, Command, Output, Precision
from embconvert.plan.requested_steps import pooled_only
from embconvert.request.records import Request
from support.plans import plan

#: Options that decide the bytes of a file, each with a command line in which it is on.
IN_KEYS = {
    "opset": "--opset 18",
    "route": "--route query",
    "reranker_template": "--reranker_template zerank",
    "pooling": "--pooling cls",
    "normalize": "--normalize",
    "dimensions": "--dimensions 8",
    "output": "--output sentence",
    "inputs": "--inputs input_ids,attention_mask",
    "output_precision": "--output_precision binary",
    "optimize": "--optimize 2",
    "skip_shape_inference": "--skip_shape_inference",
    "quantize": "--quantize QUInt8",
    "per_channel": "--no_per_channel",
    "reduce_range": "--no_reduce_range",
    "recipes": "--recipes none",
    "table_bits": "--quantize Q8 --table_bits 4",
    "calibration_method": "--calibration_method percentile",
    "quant_format": "--quant_format QOperator",
    "shape": "--shape 1x8",
    "format": "--format ort",
    "min_onnxruntime": "--min_onnxruntime 1.17",
    "operators": "--operators standard",
    "tokenizer": "--tokenizer in_graph",
}
#: Options that decide which files are made, from what and where; the source's digest and the
#: calibration texts' have keys of their own.
NOT_IN_KEYS = {
    "command", "model_id", "revision", "adapter", "pins", "task", "trust_remote_code",
    "calibration_dataset",
    "model_path", "device", "auto", "max_size", "min_speedup",
    "evaluate", "max_loss", "min_cosine",
    "min_neighbours",
    "output_ranges",
    "force_dimensions", "layout", "no_float32", "skip_validation", "full_validation",
    "max_graph_seconds", "output_parent_dir", "cache_dir", "offline", "dry_run", "json", "quiet",
    "debug",
}  # fmt: skip


def keys(options: str) -> set[str]:
    words = options if "--quantize" in options else f"--quantize QInt8Static {options}"
    steps = plan(f"all --model_id m {words}").steps
    return {step.key("source", {"torch": "1"}) for step in steps}


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Request)])
def test_an_option_that_decides_bytes_is_in_the_key(field: str) -> None:
    """A new option must be in one of the two tables, or old files would be reused in silence."""
    assert (field in IN_KEYS) != (field in NOT_IN_KEYS)
    if field in IN_KEYS:
        plain = "--quantize Q8" if field == "table_bits" else ""
        assert keys(IN_KEYS[field]) != keys(plain)


def test_a_model_without_token_logits_gives_its_vectors_when_they_are_asked_for() -> None:
    """The query route of a model whose document route has them."""
    asked = Request(command=Command.ALL, model_id="m", output=Output.LOGITS)
    assert pooled_only(asked, ["SparseStaticEmbedding"]).output is Output.BOTH
    assert pooled_only(asked, ["Transformer", "SpladePooling"]) == asked
    sentence = replace(asked, output=Output.SENTENCE)
    assert pooled_only(sentence, ["SparseStaticEmbedding"]) == sentence


def test_a_key_changes_with_the_source_and_the_libraries() -> None:
    base = plan("all --model_id m --quantize QInt8Static").steps[0]
    stack = {"torch": "1"}
    assert base.key("other", stack) != base.key("source", stack)
    assert base.key("source", {"torch": "2"}) != base.key("source", stack)
    assert keys("--quiet --min_cosine 0.1") == keys("")


def test_recipes_are_all_on_unless_chosen_and_change_the_key() -> None:
    def settings(options: str) -> Any:
        return plan(f"all --model_id m --quantize Q4 {options}").steps[-1].settings

    assert settings("")["recipes"] == ("split", "gptq", "mixed")
    assert settings("--recipes mixed")["recipes"] == ("mixed",)
    assert settings("--recipes none")["recipes"] == ()
    assert "calibration" not in settings("--recipes none")


@pytest.mark.parametrize(("options", "replaced"), [
    ("", ()),
    ("--min_onnxruntime 1.22", ()),
    ("--min_onnxruntime 1.21", ("com.microsoft.GroupQueryAttention",)),
    ("--min_onnxruntime 1.16", (
        "com.microsoft.GroupQueryAttention", "com.microsoft.MultiHeadAttention",
        "com.microsoft.RotaryEmbedding",
    )),
])  # fmt: skip
def test_only_operators_that_a_release_lacks_are_replaced_for_it(
    options: str, replaced: tuple[str, ...]
) -> None:
    """Else files would be slower than they need be, and would be made again."""
    _, *steps = plan(f"all --model_id m --quantize QInt8 {options}").steps
    attention = {name for step in steps for name in step.replaced if "Block" not in name}
    assert attention - {"com.microsoft.MatMulNBits"} == set(replaced)
    assert (keys(f"--quantize QInt8 {options}") == keys("--quantize QInt8")) == (not replaced)


def test_standard_operators_allow_blocks_for_older_releases() -> None:
    """MatMulNBits of 8 bits came later than blocks of DequantizeLinear."""
    words = "all --model_id m --quantize Q8 --min_onnxruntime"
    assert plan(f"{words} 1.19 --operators standard").steps
    with pytest.raises(UsageError, match=r"Q8 needs ONNX Runtime 1\.19"):
        plan(f"{words} 1.18 --operators standard")
    with pytest.raises(UsageError, match=r"Q8 needs ONNX Runtime 1\.23") as caught:
        plan(f"{words} 1.19")
    assert caught.value.hint.endswith("or add --operators standard")


def test_only_blockwise_files_depend_on_what_a_layout_lacks() -> None:
    line = "all --model_id m --quantize QInt8,Float16,Q8,Q4,Q4F16"
    made = {
        layout: {
            step.precision: step
            for step in plan(f"{line} --layout {layout}").steps
            if step.options.recipes or step.precision is Precision.FLOAT16
        }
        for layout in ("hub", "transformersjs")
    }
    for precision, step in made["hub"].items():
        other = made["transformersjs"][precision]
        is_same = other.key("source", {}) == step.key("source", {})
        assert is_same is (precision not in BLOCK_BITS)
        lacked = ("com.microsoft.GatherBlockQuantized",) if precision in BLOCK_BITS else ()
        assert (step.replaced, other.replaced) == ((), lacked)
    assert set(BLOCK_BITS) < set(made["hub"])
