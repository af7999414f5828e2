"""Blockwise weights beside ONNX Runtime's kernels and its own tool."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest

from embconvert.graph.mapped_tensors import MappedTensor
from embconvert.graph.onnx_file import read_artifact, write_model
from embconvert.models.choices import Precision
from embconvert.models.recipes import RECIPES, QuantizeOptions, Recipe
from embconvert.quantize.blockwise import blockwise_4, blockwise_8
from embconvert.quantize.settings import Feed, QuantizeSettings
from support.graphs import results, table_and_products, two_layers, weights

RANDOM = np.random.default_rng(0)


SETTINGS = QuantizeSettings(
    options=QuantizeOptions(),
    calibration=lambda *_, **__: iter(()),
    work=Path("unused"),
)


def test_a_graph_keeps_its_results_and_shares_what_it_shared(tmp_path: Path) -> None:
    source = write_model(table_and_products(), tmp_path / "a.onnx")
    written = write_model(blockwise_8(source.path, SETTINGS), tmp_path / "b.onnx")
    feed = {"ids": np.array([1, 7, 299])}
    expected, found = (
        onnxruntime.InferenceSession(str(a.path)).run(None, feed)[0] for a in (source, written)
    )
    assert np.abs(found - expected).max() < 0.03 * np.abs(expected).max()
    assert written.operators == {
        "Add": 1, "Cast": 1, "MatMul": 1, "Mul": 1, "com.microsoft.GatherBlockQuantized": 1,
        "com.microsoft.MatMulNBits": 3,
    }  # fmt: skip
    initializers = read_names(written.path)
    assert {n for n in initializers if "square" in n} == {
        "square_columns_quantized", "square_columns_scales",
    }  # fmt: skip
    assert {"table", "gemm"}.isdisjoint(initializers)
    assert {"batched", "bias"} <= initializers
    assert written.opset == source.opset == 17
    assert written.min_onnxruntime == "1.23"
    assert read_artifact(written.path) == written


def read_names(path: Path) -> set[str]:
    return {t.name for t in onnx.load(str(path)).graph.initializer}


def test_weights_are_read_when_the_file_is_written_and_each_once(tmp_path: Path) -> None:
    write_model(table_and_products(), tmp_path / "a.onnx")
    model = blockwise_8(tmp_path / "a.onnx", SETTINGS)
    lazy = [v.const_value for v in model.graph.initializers.values()]
    assert sum(isinstance(t, ir.LazyTensor) for t in lazy) == 7
    read: dict[str, list[int]] = {}
    read_all = MappedTensor.numpy

    def rows(tensor: MappedTensor, which: slice = slice(None)) -> np.ndarray:
        read.setdefault(tensor.name, []).extend(range(*which.indices(tensor.shape[0])))
        return np.asarray(read_all(tensor)[which])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MappedTensor, "numpy", rows)
        patch.setattr(MappedTensor, "rows", rows)
        write_model(model, tmp_path / "b.onnx")
    counts = {name: len(found) for name, found in read.items()}
    assert counts == {"table": 300, "square": 64, "gemm": 24}
    assert all(len(set(found)) == len(found) for found in read.values())


TABLE = RANDOM.standard_normal((300, 64), dtype=np.float32)


def a_table(size: float, folder: Path) -> Path:
    """Returns a graph that looks up rows of a table of numbers of this size."""
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]>'
        "g (int64[n] ids) => (float[n, 64] rows) { rows = Gather(table, ids) }"
    )
    table = onnx.numpy_helper.from_array(TABLE * np.float32(size), "table")
    model.graph.initializer.append(table)
    onnx.save(model, str(folder / "a.onnx"))
    return folder / "a.onnx"


@pytest.mark.parametrize("level", ["ORT_DISABLE_ALL", "ORT_ENABLE_ALL"])
@pytest.mark.parametrize("quantize", [blockwise_8, blockwise_4])
@pytest.mark.parametrize("size", [1e-20, 1, 1e7])
def test_scales_of_a_table_are_halves_however_large_its_numbers_are(
    quantize: Callable[[Path, QuantizeSettings], ir.Model], size: float, level: str, tmp_path: Path
) -> None:
    source = a_table(size, tmp_path)
    written = write_model(quantize(source, SETTINGS), tmp_path / "b.onnx")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    session = onnxruntime.InferenceSession(str(written.path), options)
    rows = session.run(None, {"ids": np.arange(300)})[0] / np.float32(size)
    assert np.abs(rows - TABLE).max() < 0.1 * np.abs(TABLE).max()
    kinds = {t.data_type for t in onnx.load(str(written.path)).graph.initializer if t.dims}
    assert kinds == {onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT16}


def test_a_loaded_graph_computes_no_scales(tmp_path: Path) -> None:
    write_model(blockwise_4(a_table(1, tmp_path), SETTINGS), tmp_path / "b.onnx")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    onnxruntime.InferenceSession(str(tmp_path / "b.onnx"), options)
    loaded = read_artifact(tmp_path / "loaded.onnx").operators
    assert loaded == {"com.microsoft.GatherBlockQuantized": 1}


def test_what_becomes_standard_operators_has_constant_scales(tmp_path: Path) -> None:
    settings = replace(SETTINGS, replaced=("com.microsoft.GatherBlockQuantized",))
    model = blockwise_4(a_table(1, tmp_path), settings)
    assert [node.op_type for node in model.graph] == ["GatherBlockQuantized"]


@pytest.mark.parametrize("quantize", [blockwise_8, blockwise_4])
def test_channels_that_dwarf_those_they_share_a_run_with_cost_less_by_each_recipe(
    quantize: Callable[[Path, QuantizeSettings], ir.Model], tmp_path: Path
) -> None:
    x, square = RANDOM.standard_normal((1, 20, 64), dtype=np.float32), weights(64, 64)
    x[..., 40] *= 60
    square[40] /= 60  # what reads it is small in turn

    def error(*recipes: Recipe) -> float:
        theirs, ours = results(two_layers(square), quantize, recipes, x, tmp_path)
        return float(np.abs(ours - theirs).mean() / np.abs(theirs).mean())

    plain = error()
    assert error(Recipe.SMOOTH) < 0.8 * plain
    assert error(Recipe.SPLIT) < 0.8 * plain


@pytest.mark.parametrize("recipes", [(), (Recipe.GPTQ,), (Recipe.MIXED,), RECIPES[Precision.Q4]])
def test_q4_with_any_recipes_keeps_a_graph_runnable(
    recipes: tuple[Recipe, ...], tmp_path: Path
) -> None:
    source = write_model(table_and_products(), tmp_path / "a.onnx")
    ids = np.arange(300, dtype=np.int64)

    def calibration(inputs: list[str], tokens: int | None = None) -> "Iterator[Feed]":
        assert inputs == ["ids", "attention_mask"]
        assert tokens is None or tokens > 300
        yield {"ids": ids, "attention_mask": np.ones((1, 300), np.int64)}

    settings = QuantizeSettings(
        options=QuantizeOptions(recipes=recipes),
        calibration=calibration,
        work=tmp_path,
    )
    written = write_model(blockwise_4(source.path, settings), tmp_path / "b.onnx")
    expected, found = (
        onnxruntime.InferenceSession(str(a.path)).run(None, {"ids": ids})[0]
        for a in (source, written)
    )
    cosine = (expected * found).sum() / np.linalg.norm(expected) / np.linalg.norm(found)
    assert cosine > 0.97
    assert written.operators["com.microsoft.MatMulNBits"] == 3
