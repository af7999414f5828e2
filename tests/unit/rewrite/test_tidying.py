"""What does nothing goes; what is computed of constants is computed now."""

import pytest

from embconvert.rewrite import TIDYING
from support.rewriting import apply, operators


def graph(body: str) -> str:
    return f"""g (float[batch, seq, 8] x, int64[batch, seq] m) => (float[batch, seq, 8] y) {{
      one = Constant<value = float {{1.0}}>() zero = Constant<value = float {{0.0}}>()
      {body}
    }}"""


@pytest.mark.parametrize(
    "body",
    [
        "a = Identity(x) b = Cast<to = 1>(a) c = Dropout(b) y = Neg(c)",
        "a = Mul(x, one) b = Add(zero, a) c = Div(b, one) d = Sub(c, zero) y = Neg(d)",
        "a = Transpose<perm = [1, 0, 2]>(x) b = Transpose<perm = [1, 0, 2]>(a) y = Neg(b)",
        """h = Constant<value = int64[4] {0, 0, 2, 4}>() a = Reshape(x, h)
           w = Constant<value = int64[3] {0, 0, 8}>() b = Reshape(a, w) y = Neg(b)""",
        """t = Constant<value = int64[1] {1}>() a = Unsqueeze(x, t) b = Squeeze(a, t) y = Neg(b)""",
        """all = Shape(x) a = Expand(x, all) b = Reshape(a, all) y = Neg(b)""",
        """s = Constant<value = int64[1] {0}>() e = Constant<value = int64[1] {8}>()
           t = Constant<value = int64[1] {2}>() a = Slice(x, s, e, t) y = Neg(a)""",
        """s = Constant<value = int64[1] {8}>() e = Constant<value = int64[1] {99}>()
           t = Constant<value = int64[1] {2}>() none = Slice(x, s, e, t)
           a = Concat<axis = 2>(x, none) y = Neg(a)""",
    ],
)
def test_what_does_nothing_goes(body: str) -> None:
    assert operators(apply(graph(body), *TIDYING)) == {"Neg": 1}


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ("""i, scale, middle = DynamicQuantizeLinear(x) w = Constant<value = uint8[8, 8] {
            0,1,2,3,4,5,6,7, 0,1,2,3,4,5,6,7, 0,1,2,3,4,5,6,7, 0,1,2,3,4,5,6,7,
            0,1,2,3,4,5,6,7, 0,1,2,3,4,5,6,7, 0,1,2,3,4,5,6,7, 0,1,2,3,4,5,6,7}>()
            p = MatMulInteger(i, w, middle) a = Cast<to = 1>(p) y = Mul(a, scale)""", "Cast"),
        ("""i, scale, middle = DynamicQuantizeLinear(x) a = Cast<to = 1>(i)
            y = Mul(a, scale)""", "Cast"),
        ("q = QuantizeLinear(x, one) a = Cast<to = 1>(q) y = Neg(a)", "Cast"),
        ("""middle = Constant<value = int8 {0}>() q = QuantizeLinear(x, one, middle)
            a = Cast<to = 1>(q) y = Neg(a)""", "Cast"),
        ("a = Cast<to = 11>(x) b = Cast<to = 1>(a) y = Neg(b)", "Cast"),
        ("a = Transpose<perm = [1, 0, 2]>(x) b = Neg(a) y = Transpose<perm = [1, 0, 2]>(b)",
         "Transpose"),
        ("""s = Constant<value = int64[1] {-1}>() e = Constant<value = int64[1] {-99}>()
            t = Constant<value = int64[1] {2}>() r = Constant<value = int64[1] {-1}>()
            a = Slice(x, s, e, t, r) y = Neg(a)""", "Slice"),
        ("y = Mul(x, x)", "Mul"),
    ],
)  # fmt: skip
def test_what_does_something_stays(body: str, kept: str) -> None:
    assert operators(apply(graph(body), *TIDYING))[kept]


def test_a_shape_that_was_computed_becomes_a_constant() -> None:
    text = graph("""all = Shape(x) i = Constant<value = int64 {0}>() b = Gather(all, i)
      j = Constant<value = int64 {1}>() s = Gather(all, j) at = Constant<value = int64[1] {0}>()
      b1 = Unsqueeze(b, at) s1 = Unsqueeze(s, at) n = Constant<value = int64[1] {2}>()
      rest = Constant<value = int64[1] {-1}>() heads = Concat<axis = 0>(b1, s1, n, rest)
      a = Reshape(x, heads) c = Softmax<axis = -1>(a) w = Concat<axis = 0>(b1, s1, rest)
      y = Reshape(c, w)""")
    assert operators(apply(text, *TIDYING)) == {"Reshape": 2, "Softmax": 1}


def test_constants_are_computed_now_and_weights_are_not() -> None:
    weights = ", ".join(["0.5"] * (64 * 512))
    text = f"""g (float[batch, seq, 64] x) => (float[batch, seq, 512] y) {{
      w = Constant<value = float[512, 64] {{{weights}}}>() t = Transpose<perm = [1, 0]>(w)
      a = Constant<value = float {{2.0}}>() b = Sqrt(a) c = Mul(b, b)
      p = MatMul(x, t) y = Mul(p, c)
    }}"""
    found = operators(apply(text, *TIDYING, tolerance=1e-3))
    assert found == {"Transpose": 1, "MatMul": 1, "Mul": 1}


def test_an_output_keeps_its_name_and_sizes() -> None:
    text = "g (float[batch, seq, 8] x) => (float[batch, seq, 8] y) { a = Neg(x) y = Identity(a) }"
    editor = apply(text, *TIDYING)
    (output,) = editor.graph.outputs
    assert (output.name, [str(size) for size in output.shape or ()]) == ("y", ["batch", "seq", "8"])


def test_a_graph_that_no_rule_knows_passes_unchanged() -> None:
    text = graph("a = Elu(x) y = Softplus(a)")
    assert operators(apply(text, *TIDYING)) == {"Elu": 1, "Softplus": 1}
