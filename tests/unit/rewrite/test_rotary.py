"""Rotary embeddings become one operator, whatever lies where."""

import pytest

from embconvert.rewrite import TIDYING
from embconvert.rewrite.rotary import fuse_rotary_embedding
from support.rewriting import apply, operators

ANGLES = """all = Shape(h) i1 = Constant<value = int64 {1}>() s = Gather(all, i1)
  i0 = Constant<value = int64 {0}>() places = Range(i0, s, i1)
  p = Cast<to = 1>(places) last = Constant<value = int64[1] {1}>() p2 = Unsqueeze(p, last)
  f = Constant<value = float[4] {1.0, 0.1, 0.01, 0.001}>() a0 = Mul(p2, f)"""
#: Positions of each text of its own.
OWN_ANGLES = """f = Constant<value = float[4] {1.0, 0.1, 0.01, 0.001}>()
  m = Cast<to = 1>(mask) last = Constant<value = int64[1] {2}>() p2 = Unsqueeze(m, last)
  a0 = Mul(p2, f)"""
HALVES = """zero = Constant<value = int64[1] {0}>() half = Constant<value = int64[1] {4}>()
  far = Constant<value = int64[1] {9223372036854775807}>() end = Constant<value = int64[1] {-1}>()
  lower = Slice(x, zero, half, end) upper = Slice(x, half, far, end)
  turned = Neg(upper) rotated = Concat<axis = -1>(turned, lower)"""
SUM = "u = Mul(x, cos) v = Mul(rotated, sin) z = Add(u, v)"
HEADS = "heads = Constant<value = int64[4] {0, 0, 2, 8}>() x3 = Reshape(h, heads)"
FIRST = "x = Transpose<perm = [0, 2, 1, 3]>(x3)"
BACK = "y4 = Transpose<perm = [0, 2, 1, 3]>(z)"
MERGED = "width = Constant<value = int64[3] {0, 0, 16}>() y = Reshape(y4, width)"


def graph(*body: str) -> str:
    return (
        "g (float[batch, seq, 16] h, int64[batch, seq] mask) => (float y) {" + " ".join(body) + "}"
    )


def factors(axes: str, *, same: bool = True) -> str:
    other = "a0" if same else "cos_half"
    count = len(axes.split(","))
    return f"""cos_half = Cos(a0) axes = Constant<value = int64[{count}] {{{axes}}}>()
      a = Concat<axis = -1>(a0, {other}) c = Cos(a) cos = Unsqueeze(c, axes)
      w = Sin(a) scale = Constant<value = float {{1.5}}>() w2 = Mul(w, scale)
      sin = Unsqueeze(w2, axes)"""


@pytest.mark.parametrize(("angles", "axes"), [(ANGLES, "0, 1"), (OWN_ANGLES, "1")])
def test_it_is_known_with_the_heads_before_the_tokens(angles: str, axes: str) -> None:
    text = graph(angles, HEADS, FIRST, factors(axes), HALVES, SUM, BACK, MERGED)
    found = operators(apply(text, *TIDYING, fuse_rotary_embedding))
    assert (found["RotaryEmbedding"], found["Transpose"], found["Neg"]) == (1, 0, 0)


@pytest.mark.parametrize(("angles", "axes"), [(ANGLES, "0, 2"), (OWN_ANGLES, "2")])
def test_it_is_known_with_the_tokens_before_the_heads(angles: str, axes: str) -> None:
    text = graph(
        angles, HEADS, "x = Identity(x3)", factors(axes), HALVES, SUM, "y4 = Identity(z)", MERGED
    )
    assert operators(apply(text, *TIDYING, fuse_rotary_embedding))["RotaryEmbedding"] == 1


@pytest.mark.parametrize(
    "body",
    [
        (ANGLES, HEADS, FIRST, factors("0, 1", same=False), HALVES, SUM, BACK, MERGED),
        (ANGLES, HEADS, FIRST, factors("0, 1"), HALVES.replace("turned = Neg", "turned = Abs"),
         SUM, BACK, MERGED),
        (ANGLES, HEADS, FIRST, factors("0, 1"),
         HALVES.replace("(turned, lower)", "(lower, turned)"),
         SUM, BACK, MERGED),
        (ANGLES, HEADS, FIRST, factors("0, 1"), HALVES,
         "u = Mul(x, cos) v = Mul(rotated, sin) z = Sub(u, v)", BACK, MERGED),
    ],
)  # fmt: skip
def test_what_only_looks_like_it_is_left(body: tuple[str, ...]) -> None:
    assert operators(apply(graph(*body), *TIDYING, fuse_rotary_embedding))["RotaryEmbedding"] == 0
