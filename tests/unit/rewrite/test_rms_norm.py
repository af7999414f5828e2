"""RMSNorm in all the ways that models write it becomes one operator."""

import pytest

from embconvert.rewrite.rms_norm import fuse_rms_norm
from support.rewriting import apply, operators

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
        f"{MEAN} s = Sqrt(v) r = Div(two, s) n = Mul(x, r) y = Mul(w, n)",
    ],
)
def test_what_only_looks_like_it_is_left(body: str) -> None:
    found = operators(apply(graph(body), fuse_rms_norm))
    assert found["SimplifiedLayerNormalization"] == 0


@pytest.mark.parametrize(
    "after",
    [
        "y = Neg(n)",  # no weight at all
        "y = Mul(n, x)",  # a gate, which is not constant
        "e = Exp(n) y = Mul(n, e)",  # used twice
        "four = Constant<value = int64[4] {0, 0, 2, 4}>() h = Reshape(n, four) "
        "all = Constant<value = int64[3] {0, 0, 8}>() y = Reshape(h, all)",
    ],
)
def test_a_norm_without_weights_has_weights_of_one(after: str) -> None:
    found = operators(apply(graph(f"{MEAN} s = Sqrt(v) n = Div(x, s) {after}"), fuse_rms_norm))
    assert found["SimplifiedLayerNormalization"] == 1
    assert not found["ReduceMean"]


def test_a_norm_of_groups_of_channels_is_one_of_each_group() -> None:
    """As Mamba's gated norms, whose weight is for all groups."""
    body = """four = Constant<value = int64[4] {0, 0, 2, 4}>() h = Reshape(x, four)
      p = Pow(h, two) m = ReduceMean<axes = [-1]>(p) v = Add(m, eps) s = Sqrt(v) n = Div(h, s)
      all = Constant<value = int64[3] {0, 0, 8}>() f = Reshape(n, all) y = Mul(w, f)"""
    found = operators(apply(graph(body), fuse_rms_norm))
    assert found == {"Reshape": 2, "SimplifiedLayerNormalization": 1, "Mul": 1}


def test_a_norm_over_an_axis_of_any_length_is_left() -> None:
    text = f"""g (float[batch, 8, seq] x) => (float[batch, 8, seq] y) {{
      {CONSTANTS} {MEAN} s = Sqrt(v) y = Div(x, s) }}"""
    assert operators(apply(text, fuse_rms_norm))["SimplifiedLayerNormalization"] == 0
