"""SiLU and the quick GELU become one operator."""

import pytest

from embconvert.rewrite.silu import fuse_silu
from support.rewriting import apply, operators


@pytest.mark.parametrize(
    ("body", "alpha"),
    [
        ("s = Sigmoid(x) y = Mul(x, s)", 1.0),
        ("s = Sigmoid(x) y = Mul(s, x)", 1.0),
        ("a = Constant<value = float {1.702}>() z = Mul(x, a) s = Sigmoid(z) y = Mul(x, s)", 1.702),
    ],
)
def test_every_way_to_write_it_is_known(body: str, alpha: float) -> None:
    text = f"g (float[batch, seq, 8] x) => (float[batch, seq, 8] y) {{ {body} }}"
    editor = apply(text, fuse_silu)
    assert operators(editor) == {"QuickGelu": 1}
    (node,) = editor.graph
    assert node.attributes.get_float("alpha", 0.0) == pytest.approx(alpha)


def test_the_gate_of_something_else_is_left() -> None:
    text = """g (float[batch, seq, 8] x, float[batch, seq, 8] z) => (float[batch, seq, 8] y) {
      s = Sigmoid(x) y = Mul(z, s)
    }"""
    assert operators(apply(text, fuse_silu))["Sigmoid"] == 1
