"""A padding mask becomes a place of each head; other biases stay."""

import pytest

from embconvert.rewrite import TIDYING
from embconvert.rewrite.padding_column import move_padding_into_heads
from support.rewriting import apply, operators

TEXT = """g (float[batch, seq, 8] x, int64[batch, seq] mask, float[1, 2, seq, seq] position)
  => (float[batch, seq, 8] y) {{
  k = Neg(x) v = Tanh(x)
  middle = Constant<value = int64[2] {{1, 2}}>() wide = Unsqueeze(mask, middle)
  seen = Cast<to = 9>(wide) nothing = Constant<value = float {{0.0}}>()
  fill = Constant<value = float {{{fill}}}>() padding = Where(seen, nothing, fill)
  all = Shape(x) i1 = Constant<value = int64[1] {{1}}>() s = Gather(all, i1)
  square = Concat<axis = 0>(i1, i1, s, s)
  {bias}
  y = com.microsoft.MultiHeadAttention<num_heads = 2, scale = {scale}>(x, k, v, , , bias)
}}"""
EXPANDED = "bias = Expand(padding, square)"


@pytest.mark.parametrize("scale", [0.5, 1.0, 0.01])
def test_padding_moves_into_the_heads(scale: float) -> None:
    text = TEXT.format(fill=-3.4028234e38, bias=EXPANDED, scale=scale)
    editor = apply(text, *TIDYING, move_padding_into_heads)
    (node,) = (n for n in editor.graph if n.op_type == "MultiHeadAttention")
    assert len(node.inputs) == 3
    assert operators(editor)["Concat"] == 2


@pytest.mark.parametrize(
    ("fill", "bias", "scale"),
    [
        (-3.4028234e38, "both = Expand(padding, square) bias = Add(both, position)", 0.5),
        (-3.4028234e38, EXPANDED, 2.0),  # would overflow
        (-10000.0, EXPANDED, 0.5),  # would let padding through
    ],
)
def test_another_bias_stays(fill: float, bias: str, scale: float) -> None:
    text = TEXT.format(fill=fill, bias=bias, scale=scale)
    editor = apply(text, *TIDYING, move_padding_into_heads)
    (node,) = (n for n in editor.graph if n.op_type == "MultiHeadAttention")
    assert len(node.inputs) == 6
