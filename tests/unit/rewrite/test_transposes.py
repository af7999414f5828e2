"""A product takes its tokens as they lie."""

import pytest

from embconvert.rewrite.tidying import drop_needless_nodes
from embconvert.rewrite.transposes import multiply_untransposed
from support.rewriting import apply, operators


def graph(product: str, back: str = "1, 0, 2", there: str = "1, 0, 2") -> str:
    return f"""g (float[batch, seq, 2] x) => (float y) {{
      w = Constant<value = float[2, 2] {{1.0, 2.0, 3.0, 5.0}}>()
      b = Constant<value = float[2] {{1.0, -1.0}}>()
      t = Transpose<perm = [{there}]>(x) {product} y = Transpose<perm = [{back}]>(p)
    }}"""


@pytest.mark.parametrize("product", ["p = Identity(m)", "p = Add(m, b)", "p = Add(b, m)"])
def test_transposes_around_a_product_go(product: str) -> None:
    text = graph(f"m = MatMul(t, w) {product}")
    editor = apply(text, drop_needless_nodes, multiply_untransposed)
    assert not operators(editor)["Transpose"]


def test_what_else_reads_the_transposed_tokens_stays() -> None:
    text = graph("m = MatMul(t, w) p = Add(m, t)")
    assert operators(apply(text, multiply_untransposed))["Transpose"] == 2


def test_transposes_that_are_no_opposites_stay() -> None:
    text = graph("p = MatMul(t, w)", there="0, 1, 2")
    assert operators(apply(text, multiply_untransposed))["Transpose"] == 2


def test_the_axis_that_is_multiplied_stays() -> None:
    text = """g (float[batch, 2, 2] x) => (float y) {
      w = Constant<value = float[2, 2] {1.0, 2.0, 3.0, 5.0}>()
      t = Transpose<perm = [0, 2, 1]>(x) p = MatMul(t, w) y = Transpose<perm = [0, 2, 1]>(p)
    }"""
    assert operators(apply(text, multiply_untransposed))["Transpose"] == 2
