"""The optimizer as a whole."""

from pathlib import Path

import onnx_ir as ir
import pytest

from embconvert.errors import OptimizeError
from embconvert.graph.onnx_file import read_model, write_model
from embconvert.models.choices import OptimizationLevel
from embconvert.models.values import OptimizedModel
from embconvert.rewrite import Rule
from embconvert.rewrite.optimizer import Optimizer, optimize
from support.rewriting import parse


def run_optimizer(
    text: str,
    folder: Path,
    optimizer: Optimizer = Optimizer.FUSION,
    rules: tuple[Rule, ...] | None = None,
) -> OptimizedModel:
    model = parse(text)
    for output in model.graph.outputs:
        output.dtype, output.shape = ir.DataType.FLOAT, output.shape or ir.Shape(["a", "b", 8])
    artifact = write_model(model, folder / "model.onnx")
    return optimize(
        artifact,
        folder / "optimized.onnx",
        level=OptimizationLevel.BASIC,
        optimizer=optimizer,
        skip_shape_inference=False,
        work=folder,
        rules=rules,
    )


def test_a_graph_that_no_rule_knows_passes_and_nothing_is_claimed(tmp_path: Path) -> None:
    text = "g (float[batch, seq, 8] x) => (float[batch, seq, 8] y) { a = Elu(x) y = Softplus(a) }"
    made = run_optimizer(text, tmp_path)
    assert made.fusions == ()
    assert made.artifact.operators == {"Elu": 1, "Softplus": 1}


def test_without_fusions_operators_stay_and_what_does_nothing_goes(tmp_path: Path) -> None:
    text = """g (float[batch, seq, 8] x) => (float[batch, seq, 8] y) {
      same = Identity(x) s = Sigmoid(same) y = Mul(s, same)
    }"""
    assert run_optimizer(text, tmp_path).artifact.operators == {"com.microsoft.QuickGelu": 1}
    tidy = run_optimizer(text, tmp_path, Optimizer.TIDYING)
    assert tidy.artifact.operators == {"Mul": 1, "Sigmoid": 1}


def test_a_rule_that_fails_is_an_error_with_a_hint(tmp_path: Path) -> None:
    def broken(*_: object) -> bool:
        raise KeyError("nobody expected this")

    text = "g (float[batch, seq, 8] x) => (float[batch, seq, 8] y) { y = Neg(x) }"
    with pytest.raises(OptimizeError, match="nobody expected") as caught:
        run_optimizer(text, tmp_path, rules=(broken,))
    assert "--optimize 0" in caught.value.hint
    assert not (tmp_path / "optimized.onnx").exists()


def test_a_graph_on_which_rules_fail_can_be_copied(tmp_path: Path) -> None:
    def broken(*_: object) -> bool:
        raise KeyError("nobody expected this")

    text = """g (float[batch, seq, 8] x) => (float[batch, seq, 8] y) {
      same = Identity(x) s = Sigmoid(same) y = Mul(s, same)
    }"""
    made = run_optimizer(text, tmp_path, Optimizer.COPYING, rules=(broken,))
    assert made.artifact.operators == {"Identity": 1, "Mul": 1, "Sigmoid": 1}
    assert made.fusions == ()


def test_the_optimized_file_reads_back(tmp_path: Path) -> None:
    text = "g (float[batch, seq, 8] x) => (float[batch, seq, 8] y) { s = Sigmoid(x) y = Mul(s, x) }"
    made = run_optimizer(text, tmp_path)
    model = read_model(made.artifact.path)
    assert [value.name for value in (*model.graph.inputs, *model.graph.outputs)] == ["x", "y"]
