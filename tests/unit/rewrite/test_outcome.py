"""Of each kind of operator it is told how many are fused, how many are left, and why."""

from embconvert.models.values import Fusion
from embconvert.rewrite import FUSIONS, TIDYING
from embconvert.rewrite.outcome import describe_fusions
from support.rewriting import apply

MIXED = """g (float[batch, seq, 8] x, float[batch, seq, seq] scores) => (float y) {
  two = Constant<value = float {1.4142135}>() one = Constant<value = float {1.0}>()
  half = Constant<value = float {0.5}>()
  a = Div(x, two) b = Erf(a) c = Add(b, one) d = Mul(x, c) gelu = Mul(d, half)
  other = Erf(gelu)
  p = Softmax<axis = -1>(scores) q = MatMul(p, other)
  kernel = Softmax<axis = 1>(q)
  s = Sigmoid(kernel) y = Mul(s, kernel)
}"""


def test_each_kind_is_counted() -> None:
    editor = apply(MIXED, *TIDYING, *FUSIONS)
    before = [node.op_type for node in editor.graph]
    constants = set(editor.graph.initializers)
    assert describe_fusions(editor) == (
        Fusion(
            kind="attention",
            fused=0,
            left={"its scores are not a product of queries and keys": 1},
        ),
        Fusion(kind="GELU", fused=1, left={"no rule supports its form": 1}),
        Fusion(kind="SiLU", fused=1, left={}),
    )
    # Looking changes nothing.
    assert [node.op_type for node in editor.graph] == before
    assert set(editor.graph.initializers) == constants


def test_a_graph_of_an_old_operator_set_passes_and_the_reason_is_told() -> None:
    text = """g (float[batch, seq, 8] x) => (float[batch, seq, 8] y) {
      s = Sigmoid(x) a = Mul(s, x) y = Softmax<axis = 2>(a)
    }"""
    editor = apply(text, *TIDYING, *FUSIONS, opset=12)
    assert [node.op_type for node in editor.graph] == ["Sigmoid", "Mul", "Softmax"]
    reason = "the rules need opset 13, but the graph has opset 12"
    assert [fusion.left for fusion in describe_fusions(editor)] == [{reason: 1}, {reason: 1}]
