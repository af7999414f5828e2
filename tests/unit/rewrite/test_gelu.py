"""GELU in all the ways that models write it becomes one operator."""

import pytest

from embconvert.rewrite import TIDYING
from embconvert.rewrite.gelu import fuse_gelu
from support.rewriting import apply, operators

CONSTANTS = """half = Constant<value = float {0.5}>() one = Constant<value = float {1.0}>()
  root = Constant<value = float {1.4142135}>() inverse = Constant<value = float {0.70710677}>()
  c = Constant<value = float {0.044715}>() three = Constant<value = float {3.0}>()
  two = Constant<value = float {2.0}>() slope = Constant<value = float {0.7978846}>()"""
ERF = "d = Div(x, root) e = Erf(d) u = Add(e, one)"
TANH = """p = Pow(x, three) q = Mul(p, c) r = Add(x, q) s = Mul(slope, r) t = Tanh(s)
  u = Add(one, t)"""


def graph(body: str) -> str:
    return f"g (float[batch, seq, 8] x) => (float[batch, seq, 8] y) {{ {CONSTANTS} {body} }}"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (f"{ERF} m = Mul(x, u) y = Mul(m, half)", "Gelu"),
        (f"{ERF} h = Mul(half, x) y = Mul(u, h)", "Gelu"),
        (f"{ERF} h = Mul(u, half) y = Mul(x, h)", "Gelu"),
        ("d = Mul(x, inverse) e = Erf(d) u = Add(one, e) m = Mul(u, x) y = Mul(half, m)", "Gelu"),
        (f"{TANH} h = Mul(half, x) y = Mul(h, u)", "FastGelu"),
        ("""a = Mul(x, x) b = Mul(a, x) q = Mul(c, b) r = Add(q, x) s = Mul(r, slope) t = Tanh(s)
          u = Add(t, one) h = Mul(x, half) y = Mul(h, u)""", "FastGelu"),
    ],
)  # fmt: skip
def test_every_way_to_write_it_is_known(body: str, kind: str) -> None:
    assert operators(apply(graph(body), *TIDYING, fuse_gelu)) == {kind: 1}


@pytest.mark.parametrize(
    "body",
    [
        f"{ERF} m = Mul(x, u) y = Mul(m, two)",
        "d = Div(x, two) e = Erf(d) u = Add(e, one) m = Mul(x, u) y = Mul(m, half)",
        f"{ERF} m = Mul(d, u) y = Mul(m, half)",
        """p = Pow(x, two) q = Mul(p, c) r = Add(x, q) s = Mul(slope, r) t = Tanh(s)
          u = Add(one, t) h = Mul(half, x) y = Mul(h, u)""",
    ],
)
def test_what_only_looks_like_it_is_left(body: str) -> None:
    found = operators(apply(graph(body), *TIDYING, fuse_gelu))
    assert found["Gelu"] == found["FastGelu"] == 0


def test_a_bias_becomes_part_of_it() -> None:
    weights = ", ".join(["0.25"] * 64)
    text = graph(f"""w = Constant<value = float[8, 8] {{{weights}}}>()
      b = Constant<value = float[8] {{1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0}}>()
      product = MatMul(x, w) z = Add(product, b)
      d = Div(z, root) e = Erf(d) u = Add(e, one) m = Mul(z, u) y = Mul(m, half)""")
    assert operators(apply(text, *TIDYING, fuse_gelu, tolerance=1e-4)) == {
        "MatMul": 1,
        "BiasGelu": 1,
    }
