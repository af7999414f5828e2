"""Attention in windows becomes one operator, however it is spelled; nothing else does."""

from typing import Any

import numpy as np
import pytest

from embconvert.rewrite import TIDYING
from embconvert.rewrite.windows import fuse_windowed_attention
from support.rewriting import apply, operators

RULES = (*TIDYING, fuse_windowed_attention)
WIDTH, REACH = 8, 2


def numbers(random: np.random.Generator, *shape: int) -> str:
    values = ", ".join(f"{value:.4f}" for value in random.normal(0, 0.7, shape).ravel())
    return f"float[{','.join(map(str, shape))}] {{{values}}}"


def attention(
    *,
    offsets: str = "-2, -1, 0, 1, 2",
    scale: float = 0.5,
    seen: str = "seen = And(real, inside)",
    probabilities: str = "p = Where(padding, nothing, soft)",
    query: str = "h",
) -> str:
    """Windows by lookups: of longformer's own code there is nothing in it.

    Two heads of four; a text is padded to a multiple of twice the reach, and cut at the end.
    """
    random = np.random.default_rng(0)
    weights = "".join(
        f"w{name} = Constant<value = {numbers(random, WIDTH, WIDTH)}>()\n"
        f"b{name} = Constant<value = {numbers(random, WIDTH)}>()\n"
        for name in "qkvo"
    )
    return f"""g (float[batch, seq, {WIDTH}] x, int64[batch, seq] mask) => (float y) {{
      {weights}
      nothing = Constant<value = float {{0.0}}>() lowest = Constant<value = float {{-3.4e38}}>()
      zero = Constant<value = int64 {{0}}>() one = Constant<value = int64 {{1}}>()
      zero1 = Constant<value = int64[1] {{0}}>() one1 = Constant<value = int64[1] {{1}}>()
      two1 = Constant<value = int64[1] {{2}}>() four = Constant<value = int64[1] {{{2 * REACH}}}>()
      last = Constant<value = int64[1] {{-1}}>() three1 = Constant<value = int64[1] {{3}}>()
      apart = Constant<value = int64[4] {{0, 0, 2, 4}}>()
      together = Constant<value = int64[3] {{0, 0, {WIDTH}}}>()

      given = Shape(mask) length = Gather(given, one1)
      over = Mod(length, four) short = Sub(four, over) missing = Mod(short, four)
      none2 = Constant<value = int64[3] {{0, 0, 0}}>()
      none3 = Constant<value = int64[4] {{0, 0, 0, 0}}>()
      pads2 = Concat<axis = 0>(none2, missing) pads3 = Concat<axis = 0>(none3, missing, zero1)
      tokens = Pad(mask, pads2, zero) xp = Pad(x, pads3, nothing)
      ones = Constant<value = float[{WIDTH}] {{1, 1, 1, 1, 1, 1, 1, 1}}>()
      h = LayerNormalization(xp, ones)

      qm = MatMul({query}, wq) q = Add(qm, bq) q4 = Reshape(q, apart)
      km = MatMul(h, wk) k = Add(km, bk) k4 = Reshape(k, apart)
      vm = MatMul(h, wv) v = Add(vm, bv) v4 = Reshape(v, apart)

      sizes = Shape(h) sizeone = Gather(sizes, one1) size = Squeeze(sizeone)
      places = Range(zero, size, one) column = Unsqueeze(places, one1)
      offsets = Constant<value = int64[5] {{{offsets}}}>()
      near = Add(column, offsets)
      above = GreaterOrEqual(near, zero) below = Less(near, size) inside = And(above, below)
      end = Sub(size, one) index = Clip(near, zero, end)
      keys = Gather<axis = 1>(k4, index) values = Gather<axis = 1>(v4, index)
      dot = Einsum<equation = "bshd,bswhd->bshw">(q4, keys)
      scale = Constant<value = float {{{scale}}}>() scaled = Mul(dot, scale)
      around = Gather<axis = 1>(tokens, index) real = Cast<to = 9>(around)
      {seen}
      heads = Unsqueeze(seen, two1) scores = Where(heads, scaled, lowest)
      soft = Softmax<axis = -1>(scores)
      token = Cast<to = 9>(tokens) pad = Not(token)
      twice = Constant<value = int64[2] {{2, 3}}>() padding = Unsqueeze(pad, twice)
      {probabilities}
      o = Einsum<equation = "bshw,bswhd->bshd">(p, values)
      merged = Reshape(o, together)
      ym = MatMul(merged, wo) ya = Add(ym, bo)
      y = Slice(ya, zero1, length, one1)
    }}"""


def test_attention_in_windows_becomes_one_operator() -> None:
    editor = apply(attention(), *RULES)
    assert operators(editor)["MultiHeadAttention"] == 1
    assert not {"Softmax", "Einsum"} & operators(editor).keys()


def test_queries_and_keys_are_told_apart() -> None:
    """Both are products of the same tokens; of what else the queries are, the rule does not ask."""
    editor = apply(
        attention(query="h2").replace("qm = ", "h2 = LayerNormalization(h, bk)\nqm = "), *RULES
    )
    assert operators(editor)["MultiHeadAttention"] == 1


@pytest.mark.parametrize(
    "other",
    [
        {"offsets": "-4, -3, -2, -1, 0"},
        {"offsets": "-2, -1, 0, 1, 1"},
        {"scale": 0.45},
        {"seen": "seen = Or(real, real)"},
        {"seen": "batched = Constant<value = int64[1] {0}>() u = Unsqueeze(inside, batched)"
                 " no = Not(real) some = Or(real, no) seen = And(some, u)"},
        {"probabilities": "p = Identity(soft)"},
        {"probabilities": "pz = Where(padding, nothing, soft) p = Mul(pz, scale)"},
    ],
    ids=["looks back", "one twice", "scale", "edges", "padding is seen", "no zeros", "scaled"],
)  # fmt: skip
def test_what_computes_something_else_is_left(other: dict[str, Any]) -> None:
    editor = apply(attention(**other), *RULES)
    assert operators(editor)["Softmax"] == 1
    assert not operators(editor)["MultiHeadAttention"]


@pytest.mark.parametrize(
    ("scores", "values"),
    [
        ("Mul(q, q)", "Add(k, v)"),
        ("Mul(q, k)", "Mul(k, v)"),
        ("Sum(q, k, v)", "Mul(k, v)"),
        ("Identity(one)", "Sum(q, k, v)"),
    ],
    ids=["queries are keys", "keys are values", "values are scored", "nothing is scored"],
)
def test_other_combinations_of_three_products_are_left(scores: str, values: str) -> None:
    """The part between the products and the last one is like attention's, but for what is read."""
    random = np.random.default_rng(0)
    weights = "".join(
        f"w{name} = Constant<value = {numbers(random, WIDTH, WIDTH)}>()\n" for name in "qkvo"
    )
    editor = apply(
        f"""g (float[batch, seq, {WIDTH}] x, int64[batch, seq] mask) => (float y) {{
          {weights}
          q = MatMul(x, wq) k = MatMul(x, wk) v = MatMul(x, wv)
          last = Constant<value = int64[1] {{-1}}>()
          real = Cast<to = 1>(mask) one = Unsqueeze(real, last)
          s = {scores} m = Mul(s, one) p = Softmax<axis = -1>(m)
          u = {values} o = Mul(p, u) y = MatMul(o, wo)
        }}""",
        *RULES,
    )
    assert operators(editor)["Softmax"] == 1
