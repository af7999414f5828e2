"""Of each kind of operator it is told how many are fused, how many are left, and why."""

from pathlib import Path

import onnx_ir as ir
import pytest
from rewriting import apply, parse

from embconvert.errors import OptimizeError
from embconvert.graph.onnx_file import read_model, write_model
from embconvert.models.choices import OptimizationLevel
from embconvert.models.values import ExportedModel, Fusion, OptimizedModel
from embconvert.rewrite import FUSIONS, TIDYING, rules_for
from embconvert.rewrite.optimizer import Optimizer, optimize
from embconvert.rewrite.outcome import describe_fusions

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
            left={"its scores are no product of queries and keys": 1},
        ),
        Fusion(kind="GELU", fused=1, left={"it is of a form that no rule knows": 1}),
        Fusion(kind="SiLU", fused=1, left={}),
    )
    # Looking changes nothing.
    assert [node.op_type for node in editor.graph] == before
    assert set(editor.graph.initializers) == constants


def run_optimizer(
    text: str, folder: Path, optimizer: Optimizer = Optimizer.FUSION
) -> OptimizedModel:
    model = parse(text)
    for output in model.graph.outputs:
        output.dtype, output.shape = ir.DataType.FLOAT, output.shape or ir.Shape(["a", "b", 8])
    artifact = write_model(model, folder / "model.onnx")
    return optimize(
        ExportedModel(artifact=artifact),
        folder / "optimized.onnx",
        level=OptimizationLevel.BASIC,
        optimizer=optimizer,
        skip_shape_inference=False,
        work=folder,
    )


def test_a_graph_that_no_rule_knows_passes_and_nothing_is_claimed(tmp_path: Path) -> None:
    text = "g (float[batch, seq, 8] x) => (float[batch, seq, 8] y) { a = Elu(x) y = Softplus(a) }"
    made = run_optimizer(text, tmp_path)
    assert made.fusions == ()
    assert made.artifact.operators == {"Elu": 1, "Softplus": 1}


def test_a_graph_of_an_old_operator_set_passes_and_the_reason_is_told() -> None:
    text = """g (float[batch, seq, 8] x) => (float[batch, seq, 8] y) {
      s = Sigmoid(x) a = Mul(s, x) y = Softmax<axis = 2>(a)
    }"""
    editor = apply(text, *TIDYING, *FUSIONS, opset=12)
    assert [node.op_type for node in editor.graph] == ["Sigmoid", "Mul", "Softmax"]
    reason = "the rules need opset 13, and the graph is of 12"
    assert [fusion.left for fusion in describe_fusions(editor)] == [{reason: 1}, {reason: 1}]


def test_without_fusions_operators_stay_and_what_does_nothing_goes(tmp_path: Path) -> None:
    text = """g (float[batch, seq, 8] x) => (float[batch, seq, 8] y) {
      same = Identity(x) s = Sigmoid(same) y = Mul(s, same)
    }"""
    assert run_optimizer(text, tmp_path).artifact.operators == {"com.microsoft.QuickGelu": 1}
    tidy = run_optimizer(text, tmp_path, Optimizer.TIDYING)
    assert tidy.artifact.operators == {"Mul": 1, "Sigmoid": 1}


def test_a_rule_that_fails_is_an_error_with_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> bool:
        raise KeyError("nobody expected this")

    monkeypatch.setattr("embconvert.rewrite.optimizer.rules_for", lambda *_, **__: (broken,))
    text = "g (float[batch, seq, 8] x) => (float[batch, seq, 8] y) { y = Neg(x) }"
    with pytest.raises(OptimizeError, match="nobody expected") as caught:
        run_optimizer(text, tmp_path)
    assert "--optimize 0" in caught.value.hint
    assert not (tmp_path / "optimized.onnx").exists()


def test_level_1_keeps_to_what_other_providers_run_well() -> None:
    portable = rules_for(OptimizationLevel.BASIC, fuse=True)
    for_cpu = rules_for(OptimizationLevel.EXTENDED, fuse=True)
    assert set(portable) < set(for_cpu)
    assert for_cpu == rules_for(OptimizationLevel.ALL, fuse=True)


def test_the_optimized_file_reads_back(tmp_path: Path) -> None:
    text = "g (float[batch, seq, 8] x) => (float[batch, seq, 8] y) { s = Sigmoid(x) y = Mul(s, x) }"
    made = run_optimizer(text, tmp_path)
    model = read_model(made.artifact.path)
    assert [value.name for value in (*model.graph.inputs, *model.graph.outputs)] == ["x", "y"]
