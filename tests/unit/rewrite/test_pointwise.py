"""Convolutions of width 1 are products of each token, of all channels or of groups of them."""

import onnx_ir as ir
import pytest

from embconvert.rewrite import TIDYING
from embconvert.rewrite.pointwise import multiply_pointwise
from support.rewriting import apply, operators

WEIGHTS = ", ".join(str(number % 7 - 3) for number in range(6 * 4))
BIAS = ", ".join(str(number) for number in range(6))


def graph(conv: str, *, width: int = 1, inner: int = 4) -> str:
    shape = f"float[{6 * 4 // inner // width}, {inner}, {width}]"
    return f"""g (float[batch, 4, seq] x) => (float y) {{
      w = Constant<value = {shape} {{{WEIGHTS}}}>()
      b = Constant<value = float[6] {{{BIAS}}}>() y = {conv}
    }}"""


def test_a_convolution_of_width_1_is_a_product() -> None:
    editor = apply(graph("Conv(x, w, b)"), multiply_pointwise, tolerance=1e-3)
    assert operators(editor) == {"Transpose": 2, "MatMul": 1, "Add": 1}
    (weight,) = [v for v in editor.graph.initializers.values() if len(v.const_value.shape) == 2]
    assert isinstance(weight.const_value, ir.LazyTensor)


def test_each_group_of_channels_is_a_product_of_its_own() -> None:
    text = graph("Conv<group = 2>(x, w)", inner=2)
    editor = apply(text, multiply_pointwise, tolerance=1e-3)
    assert (operators(editor)["MatMul"], operators(editor)["Conv"]) == (2, 0)


@pytest.mark.parametrize(
    "text",
    [
        graph("Conv<pads = [1, 0]>(x, w)", width=2),
        graph("Conv<strides = [2]>(x, w, b)"),
        graph("Conv<pads = [1, 1]>(x, w, b)"),
    ],
)
def test_other_convolutions_stay(text: str) -> None:
    assert operators(apply(text, multiply_pointwise, tolerance=1e-3)) == {"Conv": 1}


def test_layers_of_products_keep_no_transpose_between_them() -> None:
    """As squeezebert's: tokens are last in all layers, and a residual is added."""
    text = """g (float[batch, seq, 4] x) => (float[batch, seq, 4] y) {
      w = Constant<value = float[4, 4, 1] {1.0, 2.0, 3.0, -1.0, 0.5, 1.5, 2.5, -2.0,
        0.1, 0.2, 0.3, 0.4, -1.0, -2.0, -3.0, -4.0}>()
      half = Constant<value = float {0.5}>() last = Transpose<perm = [0, 2, 1]>(x)
      first = Conv(last, w) small = Mul(half, first) active = Tanh(small)
      second = Conv<group = 1>(active, w) all = Add(second, last)
      y = Transpose<perm = [0, 2, 1]>(all)
    }"""
    found = operators(apply(text, *TIDYING, tolerance=1e-3))
    assert (found["MatMul"], found["Transpose"], found["Conv"]) == (2, 0, 0)
