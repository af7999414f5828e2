"""Masks stay as small as they are."""

import pytest

from embconvert.rewrite import TIDYING
from embconvert.rewrite.editing import Editor
from embconvert.rewrite.masks import is_causal
from support.rewriting import apply, operators, parse

MASKED = """g (float[batch, 2, seq, seq] x, int64[batch, seq] mask)
  => (float[batch, 2, seq, seq] y) {{
  all = Shape(mask) i0 = Constant<value = int64 {{0}}>() i1 = Constant<value = int64 {{1}}>()
  b = Gather(all, i0) s = Gather(all, i1) places = Range(i0, s, i1)
  up = Constant<value = int64[3] {{0, 1, 2}}>() across = Constant<value = int64[3] {{0, 1, 3}}>()
  kv = Unsqueeze(places, up) rows = Unsqueeze(places, across)
  middle = Constant<value = int64[2] {{1, 2}}>() m4 = Unsqueeze(mask, middle)
  seen = Cast<to = 9>(m4) always = GreaterOrEqual(rows, i0)
  {condition}
  a0 = Constant<value = int64[1] {{0}}>() bb = Unsqueeze(b, a0) ss = Unsqueeze(s, a0)
  one = Constant<value = int64[1] {{1}}>() whole = Concat<axis = 0>(bb, one, ss, ss)
  wide = Expand(shown, whole)
  nothing = Constant<value = float {{0.0}}>() lowest = Constant<value = float {{-1e30}}>()
  bias = Where(wide, nothing, lowest)
  y = Add(x, bias)
}}"""


def test_what_is_always_true_goes_and_nothing_is_expanded() -> None:
    editor = apply(MASKED.format(condition="shown = And(always, seen)"), *TIDYING)
    found = operators(editor)
    assert (found["Expand"], found["And"], found["Range"]) == (0, 0, 0)
    (where,) = (node for node in editor.graph if node.op_type == "Where")
    assert [str(size) for size in editor.facts.shape(where.outputs[0]) or ()] == [
        "batch", "1", "1", "seq"
    ]  # fmt: skip


GATHERED = """flat = Flatten<axis = 2>(seen2) count = Gather(all, i1)
  texts = Range(i0, b, i1) along = Constant<value = int64[3] {1, 2, 3}>()
  rows4 = Unsqueeze(texts, along) start = Mul(rows4, WIDTH) place = Add(kv, start)
  got = Gather(flat, place) four = Shape(place) shown = Reshape(got, four)"""


@pytest.mark.parametrize(("width", "gathers"), [("count", 0), ("i1", 1)])
def test_a_mask_that_is_gathered_in_its_own_order_is_read_straight(
    width: str, gathers: int
) -> None:
    condition = "seen2 = Cast<to = 9>(mask) " + GATHERED.replace("WIDTH", width)
    found = operators(apply(MASKED.format(condition=condition), *TIDYING))
    assert (found["Flatten"], found["Gather"] > 0) == (gathers, bool(gathers))


def test_a_condition_that_may_be_false_stays() -> None:
    condition = "later = Greater(rows, i0) shown = And(later, seen)"
    assert operators(apply(MASKED.format(condition=condition), *TIDYING))["And"] == 1


def test_an_expanded_output_stays_expanded() -> None:
    text = """g (float[batch, 1] x, int64[batch, seq] mask) => (float[batch, seq] y) {
      all = Shape(mask) y = Expand(x, all)
    }"""
    assert operators(apply(text, *TIDYING))["Expand"] == 1


@pytest.mark.parametrize(
    ("condition", "causal"),
    [
        ("order = LessOrEqual(kv, rows) shown = And(order, seen)", True),
        ("order = GreaterOrEqual(rows, kv) shown = And(seen, order)", True),
        ("order = GreaterOrEqual(kv, rows) shown = And(order, seen)", False),
        ("order = Less(kv, rows) shown = And(order, seen)", False),
        ("order = LessOrEqual(kv, rows) shown = Or(order, seen)", False),
        ("shown = And(seen, always)", False),
    ],
)
def test_a_causal_mask_is_told_from_others(condition: str, causal: bool) -> None:
    model = parse(MASKED.format(condition=condition))
    from onnx_ir.passes.common import LiftConstantsToInitializersPass

    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    editor = Editor(model)
    (where,) = (node for node in editor.graph if node.op_type == "Where")
    assert is_causal(editor, where.outputs[0]) is causal
