"""Attention in all the ways that models write it becomes one operator."""

import itertools

import pytest

from embconvert.rewrite import TIDYING
from embconvert.rewrite.attention import fuse_attention, why_left
from support.rewriting import apply, operators

HEADS, SIZE = 2, 4
RULES = (*TIDYING, fuse_attention)

QUERIES = {
    "plain": "q = Identity(q4)",
    "scaled": "half = Constant<value = float {0.5}>() q = Mul(q4, half)",
    "divided": "two = Constant<value = float {2.0}>() q = Div(q4, two)",
}
KEYS = {
    "transposed twice": "kt = Transpose<perm = [0, 1, 3, 2]>(k4)",
    "transposed once": "kt = Transpose<perm = [0, 2, 3, 1]>(k3)",
    "scaled": """root = Constant<value = float {0.7071}>() ks = Mul(k4, root)
        kt = Transpose<perm = [0, 1, 3, 2]>(ks)""",
}
SCORES = {
    "as they are": "scores = Identity(dot)",
    "scaled": "by = Constant<value = float {0.3}>() scores = Mul(dot, by)",
    "with a mask": """by = Constant<value = float {3.0}>() scaled = Div(dot, by)
        scores = Add(scaled, padding)""",
    "with a bias of each head": "scores = Add(position, dot)",
    "with two": "one = Add(dot, position) scores = Add(one, padding)",
    "with a scale after the bias": """one = Add(dot, position)
        by = Constant<value = float {0.3}>() scores = Mul(one, by)""",
    "masked by Where": "scores = Where(seen, dot, lowest)",
    "masked by Where, the other way": "hidden = Not(seen) scores = Where(hidden, lowest, dot)",
    "with a mask, and at least something": """masked = Add(dot, padding)
        twice = Add(masked, padding) scores = Max(twice, lowest)""",
    "at least something": "scores = Max(lowest, dot)",
    "with a bias, masked by Where": """one = Add(dot, position)
        scores = Where(seen, one, lowest)""",
}


def attention(
    query: str = QUERIES["plain"],
    key: str = KEYS["transposed twice"],
    scores: str = SCORES["with a mask"],
    softmax: str = "p = Softmax<axis = -1>(scores)",
    output: str = "y = Identity(merged)",
) -> str:
    return f"""g (float[batch, seq, 8] x, float[1, 2, seq, seq] position, int64[batch, seq] mask)
      => (float y) {{
      heads = Constant<value = int64[4] {{0, 0, 2, 4}}>()
      xa = Neg(x) xb = Tanh(x)
      q3 = Reshape(x, heads) k3 = Reshape(xa, heads) v3 = Reshape(xb, heads)
      q4 = Transpose<perm = [0, 2, 1, 3]>(q3)
      k4 = Transpose<perm = [0, 2, 1, 3]>(k3)
      v4 = Transpose<perm = [0, 2, 1, 3]>(v3)
      middle = Constant<value = int64[2] {{1, 2}}>()
      wide = Unsqueeze(mask, middle)
      seen = Cast<to = 9>(wide)
      nothing = Constant<value = float {{0.0}}>()
      lowest = Constant<value = float {{-3.4028234e38}}>()
      padding = Where(seen, nothing, lowest)
      {query} {key}
      dot = MatMul(q, kt)
      {scores} {softmax}
      o = MatMul(p, v4)
      back = Transpose<perm = [0, 2, 1, 3]>(o)
      width = Constant<value = int64[3] {{0, 0, 8}}>()
      merged = Reshape(back, width)
      {output}
    }}"""


@pytest.mark.parametrize(
    ("query", "key", "scores"), itertools.product(QUERIES, KEYS, SCORES), ids=str
)
def test_every_way_to_write_it_is_known(query: str, key: str, scores: str) -> None:
    text = attention(QUERIES[query], KEYS[key], SCORES[scores])
    found = operators(apply(text, *RULES))
    assert (found["MultiHeadAttention"], found["Softmax"]) == (1, 0)
    # Its inputs are those of the heads, not moved about.
    assert found["Transpose"] == 0 or key == "scaled"


def selected(fill: float = -1e4, corner: float = 0, order: str = "Add(kept, filled)") -> str:
    """Scores times a triangle of ones, which a model has for its longest text."""
    triangle = [[float(key <= row) for key in range(8)] for row in range(8)]
    triangle[0][7] = corner
    numbers = ", ".join(str(number) for row in triangle for number in row)
    return attention(
        scores=f"""triangle = Constant<value = float[1, 1, 8, 8] {{{numbers}}}>()
        sizes = Shape(x) first = Constant<value = int64[1] {{1}}>() many = Gather(sizes, first)
        start = Constant<value = int64[1] {{0}}>() second = Constant<value = int64[1] {{2}}>()
        last = Constant<value = int64[1] {{3}}>() part = Slice(triangle, start, many, second)
        ones = Slice(part, start, many, last) kept = Mul(dot, ones)
        all = Constant<value = float {{1.0}}>() rest = Sub(all, ones)
        fill = Constant<value = float {{{fill}}}>() filled = Mul(rest, fill)
        scores = {order}"""
    )


@pytest.mark.parametrize("order", ["Add(kept, filled)", "Add(filled, kept)"])
def test_scores_that_are_selected_by_a_product_are_known(order: str) -> None:
    found = operators(apply(selected(order=order), *RULES))
    assert (found["MultiHeadAttention"], found["Softmax"]) == (1, 0)


def test_a_mask_is_computed_once_for_all_layers() -> None:
    text = attention(
        output="""
      again = Reshape(merged, heads) a4 = Transpose<perm = [0, 2, 1, 3]>(again)
      at = Transpose<perm = [0, 1, 3, 2]>(a4) d = MatMul(a4, at) s = Add(d, padding)
      p2 = Softmax<axis = -1>(s) o2 = MatMul(p2, a4) b2 = Transpose<perm = [0, 2, 1, 3]>(o2)
      y = Reshape(b2, width)"""
    )
    found = operators(apply(text, *RULES))
    assert (found["MultiHeadAttention"], found["Where"], found["Expand"]) == (2, 1, 1)


def test_heads_that_are_merged_with_the_batch_are_known() -> None:
    text = """g (float[batch, seq, 8] x) => (float y) {
      heads = Constant<value = int64[4] {0, 0, 2, 4}>()
      x3 = Reshape(x, heads) x4 = Transpose<perm = [0, 2, 1, 3]>(x3)
      all = Shape(x) i = Constant<value = int64[1] {1}>() s = Gather(all, i)
      minus = Constant<value = int64[1] {-1}>() size = Constant<value = int64[1] {4}>()
      merged = Concat<axis = 0>(minus, s, size)
      b = Reshape(x4, merged) bt = Transpose<perm = [0, 2, 1]>(b)
      dot = MatMul(b, bt)
      n = Constant<value = int64[1] {2}>() apart = Concat<axis = 0>(minus, n, s, s)
      d4 = Reshape(dot, apart) p = Softmax<axis = -1>(d4)
      three = Concat<axis = 0>(minus, s, s) p3 = Reshape(p, three)
      y = MatMul(p3, b)
    }"""
    assert operators(apply(text, *RULES))["MultiHeadAttention"] == 1


@pytest.mark.parametrize(
    ("keys", "fused"),
    [
        (
            "k3 = Reshape(xt, heads) k4 = Transpose<perm = [1, 2, 0, 3]>(k3)"
            " k = Reshape(k4, apart)",
            1,
        ),
        ("k3 = Reshape(xt, merged) k = Transpose<perm = [1, 0, 2]>(k3)", 0),
    ],
    ids=["of keys", "none"],
)
def test_heads_that_another_operator_merges_are_split_as_others_are(keys: str, fused: int) -> None:
    """As where tokens come first: (seq, batch * heads, size) is a Reshape without a Transpose."""
    text = f"""g (float[batch, seq, 8] x) => (float y) {{
      heads = Constant<value = int64[4] {{0, 0, 2, 4}}>()
      merged = Constant<value = int64[3] {{0, -1, 4}}>() xt = Transpose<perm = [1, 0, 2]>(x)
      all = Shape(x) i = Constant<value = int64[1] {{1}}>() s = Gather(all, i)
      minus = Constant<value = int64[1] {{-1}}>() size = Constant<value = int64[1] {{4}}>()
      apart = Concat<axis = 0>(minus, s, size)
      q3 = Reshape(xt, merged) q = Transpose<perm = [1, 0, 2]>(q3) {keys}
      kt = Transpose<perm = [0, 2, 1]>(k) dot = MatMul(q, kt) p = Softmax<axis = -1>(dot)
      o = MatMul(p, k) ot = Transpose<perm = [1, 0, 2]>(o)
      width = Constant<value = int64[3] {{0, -1, 8}}>() y = Reshape(ot, width)
    }}"""
    editor = apply(text, *RULES)
    assert operators(editor)["MultiHeadAttention"] == fused
    for softmax in editor.nodes("Softmax"):
        assert "heads are merged with the batch" in why_left(editor, softmax)


MERGED = """g (float[batch, seq, 8] x, int64[batch, seq] mask) => (float y) {{
  heads = Constant<value = int64[4] {{0, 0, 2, 4}}>()
  x3 = Reshape(x, heads) x4 = Transpose<perm = [0, 2, 1, 3]>(x3)
  all = Shape(x) i = Constant<value = int64[1] {{1}}>() s = Gather(all, i)
  minus = Constant<value = int64[1] {{-1}}>() size = Constant<value = int64[1] {{4}}>()
  merged = Concat<axis = 0>(minus, s, size) b = Reshape(x4, merged)
  bt = Transpose<perm = [0, 2, 1]>(b) dot = MatMul(b, bt)
  n = Constant<value = int64[1] {{2}}>() apart = Concat<axis = 0>(minus, n, s, s)
  three = Concat<axis = 0>(minus, s, s)
  middle = Constant<value = int64[2] {{1, 2}}>() wide = Unsqueeze(mask, middle)
  seen = Cast<to = 9>(wide) lowest = Constant<value = float {{-3.4e38}}>()
  nothing = Constant<value = float {{0.0}}>() padding = Where(seen, nothing, lowest)
  slope = Constant<value = float[2, 1] {{0.5, 0.25}}>() row = Constant<value = int64[1] {{1}}>()
  real = Cast<to = 1>(mask) m3 = Unsqueeze(real, row) position = Mul(m3, slope)
  {scores} y = MatMul(p3, b)
}}"""
MASKS = {
    "of the heads apart": """d4 = Reshape(dot, apart) masked = Add(d4, padding)
        d3 = Reshape(masked, three) p3 = Softmax<axis = -1>(d3)""",
    "of the heads merged": """one = Constant<value = int64[3] {{-1, 1, 0}}>()
        flat = Reshape(position, one) d3 = Add(dot, flat) p3 = Softmax<axis = -1>(d3)""",
    "of both": """one = Constant<value = int64[3] {{-1, 1, 0}}>() flat = Reshape(position, one)
        d3 = Add(dot, flat) d4 = Reshape(d3, apart) masked = Add(d4, padding)
        p = Softmax<axis = -1>(masked) p3 = Reshape(p, three)""",
    "for all texts": """many = Constant<value = float[1, 1, 1] {{0.5}}>()
        d3 = Add(dot, many) p3 = Softmax<axis = -1>(d3)""",
    "by Where": """one = Constant<value = int64[3] {{-1, 1, 0}}>() flat = Reshape(position, one)
        some = Greater(flat, nothing) d3 = Where(some, dot, lowest)
        p3 = Softmax<axis = -1>(d3)""",
}


@pytest.mark.parametrize("scores", MASKS)
def test_masks_of_heads_that_are_merged_with_the_batch_are_known(scores: str) -> None:
    text = MERGED.format(scores=MASKS[scores].format())
    found = operators(apply(text, *RULES))
    assert (found["MultiHeadAttention"], found["Softmax"]) == (1, 0)


GROUPED = """g (float[batch, seq, 32] x, float[batch, seq, 16] z, int64[batch, seq] mask)
  => (float y) {{
  hq = Constant<value = int64[4] {{0, 0, 4, 8}}>() hk = Constant<value = int64[4] {{0, 0, 2, 8}}>()
  q3 = Reshape(x, hq) q4 = Transpose<perm = [0, 2, 1, 3]>(q3)
  k3 = Reshape(z, hk) k4 = Transpose<perm = [0, 2, 1, 3]>(k3)
  a2 = Constant<value = int64[1] {{2}}>() k5 = Unsqueeze(k4, a2)
  all = Shape(x) i0 = Constant<value = int64[1] {{0}}>() i1 = Constant<value = int64[1] {{1}}>()
  b = Gather(all, i0) s = Gather(all, i1) n4 = Constant<value = int64[1] {{4}}>()
  n8 = Constant<value = int64[1] {{8}}>()
  wide = Concat<axis = 0>(b, a2, a2, s, n8) many = Expand(k5, wide)
  whole = Concat<axis = 0>(b, n4, s, n8) k = Reshape(many, whole)
  kt = Transpose<perm = [0, 1, 3, 2]>(k)
  dot = MatMul(q4, kt)
  zero = Constant<value = int64 {{0}}>() one = Constant<value = int64 {{1}}>()
  flat = Squeeze(s) places = Range(zero, flat, one)
  up = Constant<value = int64[3] {{0, 1, 2}}>() across = Constant<value = int64[3] {{0, 1, 3}}>()
  kv = Unsqueeze(places, up) rows = Unsqueeze(places, across)
  middle = Constant<value = int64[2] {{1, 2}}>() m4 = Unsqueeze(mask, middle)
  seen = Cast<to = 9>(m4)
  order = {order}
  both = And(order, seen)
  nothing = Constant<value = float {{0.0}}>() lowest = Constant<value = float {{-3.4028234e38}}>()
  bias = Where(both, nothing, lowest)
  {scores}
  p = Softmax<axis = -1>(scores)
  o = MatMul(p, k) ot = Transpose<perm = [0, 2, 1, 3]>(o)
  w = Constant<value = int64[3] {{0, 0, 32}}>() merged = Reshape(ot, w)
  {seen_alone}
}}"""
#: Rows of padding alone look at other keys, which nobody reads: they are left out.
SEEN_ALONE = """real = Cast<to = 1>(mask) last = Constant<value = int64[1] {-1}>()
  column = Unsqueeze(real, last) y = Mul(merged, column)"""
CAPPED = """cap = Constant<value = float {2.0}>() less = Div(dot, cap) t = Tanh(less)
  capped = Mul(t, cap) scores = Add(capped, bias)"""


@pytest.mark.parametrize("scores", ["scores = Add(dot, bias)", CAPPED])
def test_causal_attention_with_shared_heads_and_caps_is_known(scores: str) -> None:
    text = GROUPED.format(order="LessOrEqual(kv, rows)", scores=scores, seen_alone=SEEN_ALONE)
    found = operators(apply(text, *RULES))
    assert (found["GroupQueryAttention"], found["Softmax"]) == (1, 0)


def one_head_for_all(order: str) -> str:
    """Keys and values of one head are broadcast by the products."""
    text = GROUPED.format(order=order, scores="scores = Add(dot, bias)", seen_alone=SEEN_ALONE)
    return (
        text.replace("{0, 0, 2, 8}", "{0, 0, 1, 8}")
        .replace("batch, seq, 16] z", "batch, seq, 8] z")
        .replace(
            "kt = Transpose<perm = [0, 1, 3, 2]>(k)", "kt = Transpose<perm = [0, 1, 3, 2]>(k4)"
        )
        .replace("MatMul(p, k)", "MatMul(p, k4)")
    )


def test_one_head_of_keys_and_values_for_all_is_known() -> None:
    found = operators(apply(one_head_for_all("LessOrEqual(kv, rows)"), *RULES))
    assert (found["GroupQueryAttention"], found["Softmax"]) == (1, 0)


def test_one_head_for_all_that_reads_both_ways_is_left() -> None:
    editor = apply(one_head_for_all("GreaterOrEqual(kv, rows)"), *RULES)
    (softmax,) = editor.nodes("Softmax")
    assert "share keys and values, but it is not causal" in why_left(editor, softmax)


@pytest.mark.parametrize("order", ["GreaterOrEqual(kv, rows)", "Less(rows, kv)"])
def test_what_is_not_causal_keeps_its_copied_heads(order: str) -> None:
    text = GROUPED.format(
        order=order, scores="scores = Add(dot, bias)", seen_alone="y = Identity(merged)"
    )
    found = operators(apply(text, *RULES))
    assert (found["MultiHeadAttention"], found["GroupQueryAttention"]) == (1, 0)


def with_sinks(
    order: str = "LessOrEqual(kv, rows)",
    sinks: str = "float[1, 4, 1, 1] {0.5, -1.0, 2.0, 0.0}",
    softmax: str = "top = ReduceMax<axes = [-1]>(wider) less = Sub(wider, top)"
    " pw = Softmax<axis = -1>(less)",
    cut: str = "i0, im, i3, i1",
) -> str:
    text = GROUPED.format(order=order, scores="scores = Add(dot, bias)", seen_alone=SEEN_ALONE)
    return text.replace(
        "p = Softmax<axis = -1>(scores)",
        f"""sink = Constant<value = {sinks}>() i3 = Constant<value = int64[1] {{3}}>()
        im = Constant<value = int64[1] {{-1}}>() i2 = Constant<value = int64[1] {{2}}>()
        long = Concat<axis = 0>(b, n4, s, i1) sinks = Expand(sink, long)
        wider = Concat<axis = -1>(scores, sinks) {softmax} p = Slice(pw, {cut})""",
    )


@pytest.mark.parametrize(
    "text",
    [
        with_sinks(),
        with_sinks(softmax="pw = Softmax<axis = -1>(wider)", cut="i0, im, im"),
    ],
    ids=["less the largest", "as they are"],
)
def test_causal_attention_with_sinks_is_known(text: str) -> None:
    editor = apply(text, *RULES)
    assert (operators(editor)["GroupQueryAttention"], operators(editor)["Softmax"]) == (1, 0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (with_sinks(order="GreaterOrEqual(kv, rows)"), "it has sinks, but it is not causal"),
        (with_sinks(sinks="float[1, 1, 1, 1] {0.5}"), "not one number for each head"),
        (with_sinks(softmax="pw = Softmax<axis = -1>(wider) end = Add(s, i1)",
                    cut="i1, end, i3, i1"), "not cut off"),
    ],
    ids=["both ways", "one for all heads", "cut elsewhere"],
)  # fmt: skip
def test_other_sinks_are_left(text: str, reason: str) -> None:
    editor = apply(text, *RULES)
    (softmax,) = editor.nodes("Softmax")
    assert reason in why_left(editor, softmax)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (attention(output="y = Add(merged, merged) z = Add(p, p)").replace(
            "=> (float y)", "=> (float y, float z)"), "more than once"),
        (attention(softmax="p0 = Softmax<axis = -1>(scores) p = Relu(p0)"), "go to Relu"),
        (attention(softmax="p = Softmax<axis = 2>(scores)"), "last axis"),
        (attention(scores="scores = Relu(dot)"), "not a product"),
        (attention(scores="nine = Constant<value = float {-9.0}>()"
                   " scores = Where(seen, dot, nine)"), "not hidden"),
        (attention(scores="two = Constant<value = float {-2.0}>() scores = Max(dot, two)"),
         "not a product"),
        (attention(scores="d2 = MatMul(q4, kt) scores = Add(dot, d2)"), "sum of products"),
        (selected(fill=-9.0), "not hidden"),
        (selected(corner=0.5), "not a product"),
        (attention(scores="""cap = Constant<value = float {2.0}>() less = Div(dot, cap)
            t = Tanh(less) scores = Mul(t, cap)"""), "capped"),
    ],
)  # fmt: skip
def test_what_no_operator_does_is_left_and_the_reason_told(text: str, reason: str) -> None:
    editor = apply(text, *RULES)
    (softmax,) = (node for node in editor.graph if node.op_type == "Softmax")
    assert reason in why_left(editor, softmax)
