"""Every precision in standard operators: the numbers, and the size of what is stored."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

from embconvert.graph.onnx_file import write_model
from embconvert.graph.opset import at_least
from embconvert.models.choices import HALF_PRECISIONS, Precision
from embconvert.models.recipes import DEFAULT_RECIPES, QuantFormat, QuantizeOptions, Recipe
from embconvert.models.values import QuantizedModel
from embconvert.quantize import quantize
from embconvert.quantize.settings import Feed, QuantizeSettings
from embconvert.rewrite.standard import FORMS
from support.graphs import table_and_products

IDS = np.arange(300, dtype=np.int64)
CASES: Mapping[str, tuple[Precision, QuantizeOptions]] = {
    str(p): (p, QuantizeOptions(recipes=DEFAULT_RECIPES.get(p, ())))
    for p in Precision
    if p is not Precision.FLOAT32
} | {
    "one scale for all": (Precision.QINT8, QuantizeOptions(per_channel=False)),
    "scales of the batch": (Precision.QUINT8, QuantizeOptions()),
    "integer operators": (
        Precision.QINT8_STATIC, QuantizeOptions(quant_format=QuantFormat.QOPERATOR),
    ),
    "a table of 4 bits": (Precision.Q8, QuantizeOptions(table_bits=4)),
    "a table of 8 bits": (Precision.Q4, QuantizeOptions(table_bits=8, recipes=(Recipe.SMOOTH,))),
}  # fmt: skip


def quantized(folder: Path, case: str, replaced: tuple[str, ...]) -> QuantizedModel:
    def calibration(inputs: list[str], tokens: int | None = None) -> Iterator[Feed]:
        del inputs, tokens
        yield {"ids": IDS, "attention_mask": np.ones((300, 1), np.int64)}

    precision, options = CASES[case]
    settings = QuantizeSettings(
        options=options, calibration=calibration, work=folder, replaced=replaced
    )
    source = write_model(table_and_products(), folder / "a.onnx")
    path = folder / f"{'standard' if replaced else 'any'}.onnx"
    return quantize(source, path, precision=precision, settings=settings)


@pytest.mark.parametrize("case", CASES)
def test_it_computes_the_same_in_onnx_own_evaluator(case: str, tmp_path: Path) -> None:
    usual, standard = (quantized(tmp_path, case, names) for names in ((), tuple(FORMS)))
    proto = onnx.load(str(standard.artifact.path))
    assert {opset.domain for opset in proto.opset_import} == {""}
    assert {node.domain for node in proto.graph.node} == {""}
    onnx.checker.check_model(proto, full_check=True)
    feed = {"ids": np.array([0, 3, 299, 17])}
    (wanted,) = onnxruntime.InferenceSession(str(usual.artifact.path)).run(None, feed)
    (found,) = onnxruntime.InferenceSession(str(standard.artifact.path)).run(None, feed)
    # It has no QuantizeLinear before opset 19.
    (evaluated,) = ReferenceEvaluator(at_least(proto, 19, 9)).run(None, feed)
    for ours in (found, evaluated):
        # MatMulNBits also rounds activations.
        assert np.linalg.norm(ours - wanted) < 0.02 * np.linalg.norm(wanted)


@pytest.mark.parametrize("case", CASES)
def test_its_weights_take_no_more_space(case: str, tmp_path: Path) -> None:
    """They stay integers in the file, and 4-bit integers stay two per byte."""
    usual, standard = (quantized(tmp_path, case, names) for names in ((), tuple(FORMS)))
    sizes = [
        sum(weight.ByteSize() for weight in onnx.load(str(made.artifact.path)).graph.initializer)
        for made in (usual, standard)
    ]
    assert sizes[1] < 1.05 * sizes[0] + 1000


def test_blocks_say_which_release_runs_them(tmp_path: Path) -> None:
    """1.18 knows opset 21, but has no kernel for blocks."""
    made = quantized(tmp_path, "Q4", tuple(FORMS))
    assert (made.artifact.opset, made.artifact.min_onnxruntime) == (21, "1.19")
    assert quantized(tmp_path, "QInt8", tuple(FORMS)).artifact.opset == 17


@pytest.mark.parametrize("precision", [p for p in Precision if p is not Precision.FLOAT32])
def test_only_what_computes_in_half_precision_may_overflow(
    precision: Precision, tmp_path: Path
) -> None:
    """Of these, every text is run, even where a sample settles the figures."""
    graph = onnx.load(str(quantized(tmp_path, str(precision), ()).artifact.path)).graph
    cast = {node.input[0] for node in graph.node if node.op_type == "Cast"}  # a table's scales
    types = {weight.data_type for weight in graph.initializer if weight.name not in cast}
    assert (onnx.TensorProto.FLOAT16 in types) is (precision in HALF_PRECISIONS)
