"""Every operator of ONNX Runtime that our graphs have computes the same in standard operators."""

import onnx_ir as ir
import pytest

from embconvert.rewrite.standard import FORMS, write_in_standard_operators
from embconvert.rewrite.standard.values import NoStandardForm
from support.rewriting import assert_same, parse

EIGHT = "1.0, 0.5, 0.25, 2.0, 1.0, 1.0, 0.5, 1.5"


def graph(body: str, *, width: int = 8, constants: str = "") -> str:
    return (
        f"g (float[batch, seq, {width}] x) => (float[batch, seq, {width}] y) {{ {constants} "
        f"weight = Constant<value = float[8] {{{EIGHT}}}>() {body} }}"
    )


def attention(inputs: str, attributes: str, constants: str = "") -> str:
    """Queries, keys and values are x; `order` hides later keys."""
    return graph(
        f"""zero = Constant<value = float {{0.0}}>() low = Constant<value = float {{-1e30}}>()
          none = Constant<value = int64 {{0}}>() step = Constant<value = int64 {{1}}>()
          shape = Shape(x) index = Constant<value = int64 {{1}}>() seq = Gather(shape, index)
          places = Range(none, seq, step) last = Constant<value = int64[1] {{-1}}>()
          later = Unsqueeze(places, last) seen = LessOrEqual(places, later)
          mask = Where(seen, zero, low) axes = Constant<value = int64[2] {{0, 1}}>()
          order = Unsqueeze(mask, axes)
          y = com.microsoft.{inputs[: inputs.index("(")]}<{attributes}>
            {inputs[inputs.index("(") :]}""",
        constants=constants,
    )


#: Keys in two groups, and the lengths that GroupQueryAttention wants.
GROUPED = """start = Constant<value = int64[1] {0}>() end = Constant<value = int64[1] {4}>()
  third = Constant<value = int64[1] {2}>() half = Slice(x, start, end, third)
  size = Shape<start = 1, end = 2>(x) total = Cast<to = 6>(size)
  unit = Constant<value = int32[1] {1}>() before = Sub(total, unit)
  rows = Shape<start = 0, end = 1>(x) lengths = Expand(before, rows)
  scalar = Constant<value = int64[0] {}>() number = Reshape(total, scalar)"""
GROUPS = "GroupQueryAttention(x, half, half, , , lengths, number, , , , order)"

TABLES = """table = Constant<value = float[9, 2] {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9,
  0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9}>() cos = Cos(table) sin = Sin(table)"""

CASES = {
    "BiasGelu": graph("y = com.microsoft.BiasGelu(x, weight)"),
    "FastGelu": graph("y = com.microsoft.FastGelu(x)"),
    "FastGelu with a bias": graph("y = com.microsoft.FastGelu(x, weight)"),
    "Gelu": graph("y = com.microsoft.Gelu(x)"),
    "QuickGelu": graph("y = com.microsoft.QuickGelu<alpha = 1.0>(x)"),
    "QuickGelu by its default": graph("y = com.microsoft.QuickGelu(x)"),
    "MultiHeadAttention": attention("MultiHeadAttention(x, x, x)", "num_heads = 2"),
    "MultiHeadAttention with a bias": attention(
        "MultiHeadAttention(x, x, x, , , order)", "num_heads = 4, scale = 0.3"
    ),
    "MultiHeadAttention with heads apart": attention(
        "MultiHeadAttention(x, heads, heads)",
        "num_heads = 2, scale = 0.4",
        """apart = Constant<value = int64[4] {0, 0, 2, 4}>() split = Reshape(x, apart)
          heads = Transpose<perm = [0, 2, 1, 3]>(split)""",
    ),
    "GroupQueryAttention": attention(
        "GroupQueryAttention(x, x, x, , , lengths, number, , , , order)",
        "num_heads = 1, kv_num_heads = 1",
        GROUPED,
    ),
    "RotaryEmbedding by a first position": graph(f"""{TABLES}
      first = Constant<value = int64[1] {{0}}>()
      y = com.microsoft.RotaryEmbedding(x, first, cos, sin)"""),
    "RotaryEmbedding by positions": graph(f"""{TABLES}
      one = Constant<value = int64[1] {{1}}>() zero = Constant<value = int64[1] {{0}}>()
      two = Constant<value = int64[1] {{2}}>() column = Slice(x, zero, one, two)
      flat = Squeeze(column, two) bit = Sign(flat) signs = Cast<to = 7>(bit)
      positions = Add(signs, one) y = com.microsoft.RotaryEmbedding(x, positions, cos, sin)"""),
    "SimplifiedLayerNormalization": graph(
        "y = SimplifiedLayerNormalization<axis = -1, epsilon = 0.01>(x, weight)"
    ),
    "SkipLayerNormalization": graph(
        "y = com.microsoft.SkipLayerNormalization<epsilon = 0.01>(x, x, weight, weight, weight)"
    ),
    "SkipSimplifiedLayerNormalization": graph(
        "y = com.microsoft.SkipSimplifiedLayerNormalization<epsilon = 0.01>(x, x, weight, weight)"
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("opset", [17, 18])
def test_the_standard_form_computes_the_same(name: str, opset: int) -> None:
    plain, model = parse(CASES[name], opset), parse(CASES[name], opset)
    written = write_in_standard_operators(model, FORMS)
    assert not [n.op_type for n in written.graph if n.domain or n.op_type in FORMS]
    assert written.opset_imports[""] == opset, "it needs no newer one"
    assert_same(plain, written)


def test_grouped_heads_share_their_keys_without_copies() -> None:
    text = attention(GROUPS, "num_heads = 2, kv_num_heads = 1, softcap = 1.5", GROUPED)
    # The operator needs heads of eight.
    text = text.replace("8] x", "16] x").replace("8] y", "16] y").replace("{4}>", "{8}>")
    plain, model = parse(text), parse(text)
    written = write_in_standard_operators(model, FORMS)
    assert "Expand" not in {n.op_type for n in written.graph}
    assert_same(plain, written)


def test_a_sink_takes_a_share_of_each_row() -> None:
    """As in gpt-oss: a score of each head that belongs to no key."""
    inputs = GROUPS.replace("order)", "order, sink)")
    sink = "sink = Constant<value = float[2] {1.5, -0.5}>()"
    text = attention(inputs, "num_heads = 2, kv_num_heads = 1", f"{GROUPED} {sink}")
    text = text.replace("8] x", "16] x").replace("8] y", "16] y").replace("{4}>", "{8}>")
    plain, model = parse(text), parse(text)
    assert_same(plain, write_in_standard_operators(model, FORMS))


def test_only_the_named_operators_are_replaced() -> None:
    model = parse(graph("z = com.microsoft.Gelu(x) y = com.microsoft.QuickGelu(z)"))
    written = write_in_standard_operators(model, ["com.microsoft.Gelu", "com.microsoft.Other"])
    assert [n.op_type for n in written.graph if n.domain] == ["QuickGelu"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (attention("MultiHeadAttention(x, x, x, weight)", "num_heads = 2"), "input 3"),
        (
            attention("MultiHeadAttention(x, x, x)", "num_heads = 2, unidirectional = 1"),
            "attribute unidirectional",
        ),
        (
            attention(
                "GroupQueryAttention(x, half, half, , , lengths, number, , , , x)",
                "num_heads = 2, kv_num_heads = 1",
                GROUPED,
            ),
            "does not hide later keys",
        ),
        (
            attention(
                "GroupQueryAttention(x, half, half, , , short, number, , , , order)",
                "num_heads = 2, kv_num_heads = 1",
                f"{GROUPED} less = Sub(before, unit) short = Expand(less, rows)",
            ),
            "different lengths",
        ),
    ],
)
def test_a_node_that_computes_something_else_is_refused_by_name(text: str, why: str) -> None:
    """Its standard form would be published with other results."""
    with pytest.raises(NoStandardForm, match=rf"com\.microsoft\.\w+Attention has no .*{why}"):
        write_in_standard_operators(parse(text), FORMS)


def test_a_second_output_that_is_used_is_refused() -> None:
    text = """g (float[batch, seq, 8] x) => (float[batch, seq, 8] y, float[batch, seq, 8] z) {
      weight = Constant<value = float[8] {1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0}>()
      y, mean, deviation, z = com.microsoft.SkipLayerNormalization(x, x, weight) }"""
    with pytest.raises(NoStandardForm, match="a second output"):
        write_in_standard_operators(parse(text), FORMS)


def test_squares_of_half_precision_stay_in_range() -> None:
    text = graph(
        "h = Cast<to = 10>(x) w = Cast<to = 10>(weight) "
        "n = SimplifiedLayerNormalization<axis = -1>(h, w) y = Cast<to = 1>(n)"
    )
    plain, model = parse(text), parse(text)
    written = write_in_standard_operators(model, FORMS)
    (power,) = (n for n in written.graph if n.op_type == "Pow")
    cast = None if power.inputs[0] is None else power.inputs[0].producer()
    assert cast is not None
    assert cast.attributes.get_int("to", 0) == ir.DataType.FLOAT
    assert_same(plain, written, tolerance=1e-2)
