"""Which ONNX Runtime runs a graph."""

import pytest

from embconvert.models.compat import newer_than, oldest_onnxruntime, variant


def test_the_oldest_runtime_is_that_of_the_newest_part() -> None:
    assert oldest_onnxruntime(17, 8, []) == "1.15"
    assert oldest_onnxruntime(19, 9, []) == "1.16"
    assert oldest_onnxruntime(20, 8, []) == "1.17"
    assert oldest_onnxruntime(17, 8, ["com.microsoft.RotaryEmbedding"]) == "1.17"
    with pytest.raises(ValueError, match="no ONNX Runtime"):
        oldest_onnxruntime(99, 8, [])


def test_sinks_are_an_input_that_came_later_than_the_operator() -> None:
    operator = "com.microsoft.GroupQueryAttention"
    known, with_sinks = (variant(operator, {}, inputs) for inputs in (11, 12))
    assert oldest_onnxruntime(17, 8, [known]) == "1.22"
    assert oldest_onnxruntime(17, 8, [with_sinks]) == "1.23"


def test_blocks_of_weights_came_after_their_opset() -> None:
    blocks = variant("DequantizeLinear", {"axis": 0, "block_size": 32})
    assert oldest_onnxruntime(21, 10, [blocks]) == "1.19"
    assert oldest_onnxruntime(21, 10, [variant("DequantizeLinear", {"axis": 1})]) == "1.18"


def test_what_a_release_lacks_does_not_include_what_it_has_in_part() -> None:
    assert newer_than(None) == newer_than((1, 22)) == ()
    assert set(newer_than((1, 20))) == {
        "com.microsoft.GatherBlockQuantized", "com.microsoft.GroupQueryAttention",
        "com.microsoft.MultiHeadAttention",
    }  # fmt: skip
