"""RMSNorm in all the ways that models write it becomes one operator."""

import pytest
from rewriting import apply, operators

from embconvert.rewrite.rms_norm import fuse_rms_norm

CONSTANTS = """two = Constant<value = float {2.0}>() eps = Constant<value = float {0.001}>()
  one = Constant<value = float {1.0}>() minus = Constant<value = float {-0.5}>()
  w = Constant<value = float[8] {1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0}>()"""
MEAN = "p = Pow(x, two) m = ReduceMean<axes = [-1]>(p) v = Add(m, eps)"


def graph(body: str) -> str:
    return f"g (float[batch, seq, 8] x) => (float[batch, seq, 8] y) {{ {CONSTANTS} {body} }}"


@pytest.mark.parametrize(
    "body",
    [
        f"{MEAN} s = Sqrt(v) n = Div(x, s) y = Mul(n, w)",
        f"{MEAN} s = Sqrt(v) r = Div(one, s) n = Mul(x, r) y = Mul(w, n)",
        f"{MEAN} s = Sqrt(v) r = Reciprocal(s) n = Mul(r, x) y = Mul(w, n)",
        f"{MEAN} r = Pow(v, minus) n = Mul(x, r) y = Mul(w, n)",
        "p = Mul(x, x) m = ReduceMean<axes = [2]>(p) v = Add(eps, m) s = Sqrt(v) n = Div(x, s) "
        "y = Mul(n, w)",
    ],
)
def test_every_way_to_write_it_is_known(body: str) -> None:
    # Constants are lifted, and stay; of nodes there is one.
    assert operators(apply(graph(body), fuse_rms_norm)) == {"SimplifiedLayerNormalization": 1}


@pytest.mark.parametrize(
    "body",
    [
        "p = Pow(x, two) m = ReduceMean<axes = [1]>(p) v = Add(m, eps) s = Sqrt(v) n = Div(x, s) "
        "y = Mul(n, w)",
        f"{MEAN} s = Sqrt(v) n = Div(p, s) y = Mul(n, w)",
        f"{MEAN} s = Sqrt(v) n = Div(x, s) y = Mul(n, x)",
        f"{MEAN} s = Sqrt(v) r = Div(two, s) n = Mul(x, r) y = Mul(w, n)",
    ],
)
def test_what_only_looks_like_it_is_left(body: str) -> None:
    found = operators(apply(graph(body), fuse_rms_norm))
    assert found["SimplifiedLayerNormalization"] == 0
