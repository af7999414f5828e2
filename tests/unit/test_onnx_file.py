"""ONNX files are written and read without holding their weights."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from graphs import table_and_products
from hypothesis import given, settings
from hypothesis import strategies as st
from onnxconverter_common.float16 import convert_np_to_float16

from embconvert.graph import streams
from embconvert.graph.half_precision import HALF_RANGE, half_weight, to_half
from embconvert.graph.hollow import fill, hollow_out
from embconvert.graph.layout import contiguous
from embconvert.graph.mapped_tensors import MappedFile, MappedTensor
from embconvert.graph.onnx_file import read_artifact, read_model, write_model
from embconvert.graph.rows_tensor import RowsTensor
from embconvert.graph.streams import bytes_ahead, hash_file

WEIGHT = np.arange(64 * 64, dtype=np.float32).reshape(64, 64) / 4096


def model(weight: "ir.TensorProtocol | None" = None) -> ir.Model:
    """y = x @ weight + bias."""
    x = ir.val("x", dtype=ir.DataType.FLOAT, shape=["batch", 64])
    tensors = [weight or ir.tensor(WEIGHT, name="weight"), ir.tensor(WEIGHT[0], name="bias")]
    weights = [
        ir.Value(name=t.name, shape=t.shape, type=ir.TensorType(t.dtype), const_value=t)
        for t in tensors
    ]
    product = ir.node("MatMul", [x, weights[0]])
    total = ir.node("Add", [product.outputs[0], weights[1]])
    y = total.outputs[0]
    y.name, y.shape, y.dtype = "y", ir.Shape(["batch", 64]), ir.DataType.FLOAT
    graph = ir.Graph(
        [x], [y], nodes=[product, total], initializers=weights, opset_imports={"": 17}, name="g"
    )
    return ir.Model(graph, ir_version=8)


def run(path: Path) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path))
    return np.asarray(session.run(None, {"x": np.eye(3, 64, dtype=np.float32)})[0])


@pytest.mark.parametrize("threshold", [0, 2**31])
def test_what_is_written_is_ordinary_onnx(threshold: int, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    artifact = write_model(model(), path, external_data_threshold_bytes=threshold)
    onnx.checker.check_model(str(path))
    np.testing.assert_array_equal(run(path), WEIGHT[:3] + WEIGHT[0])
    assert artifact.sha256 == hash_file(path)
    assert artifact.size_bytes == path.stat().st_size
    assert {p.name for p in tmp_path.iterdir()} == (
        {"model.onnx", "model.onnx_data"} if threshold == 0 else {"model.onnx"}
    )
    assert read_artifact(path) == artifact


@pytest.mark.parametrize("threshold", [0, 2**31])
def test_the_same_model_gives_the_same_bytes_also_when_read_back(
    threshold: int, tmp_path: Path
) -> None:
    first = write_model(model(), tmp_path / "a.onnx", external_data_threshold_bytes=threshold)
    (tmp_path / "copy").mkdir()
    read = read_model(tmp_path / "a.onnx")
    again = write_model(read, tmp_path / "copy" / "a.onnx", external_data_threshold_bytes=threshold)
    assert again.digest == first.digest


def test_a_lazy_weight_is_made_once_and_a_read_one_stays_in_its_file(tmp_path: Path) -> None:
    made = []

    def make() -> ir.Tensor:
        made.append(1)
        return ir.Tensor(WEIGHT)

    lazy = ir.LazyTensor(make, ir.DataType.FLOAT, shape=ir.Shape([64, 64]), name="weight")
    write_model(model(lazy), tmp_path / "model.onnx")
    assert made == [1]
    read = read_model(tmp_path / "model.onnx").graph.initializers["weight"].const_value
    assert isinstance(read, ir.ExternalTensor)
    np.testing.assert_array_equal(read.numpy(), WEIGHT)


@pytest.mark.parametrize("threshold", [0, 1 << 30])
def test_all_weights_of_a_file_share_one_mapping(threshold: int, tmp_path: Path) -> None:
    write_model(table_and_products(), tmp_path / "a.onnx", external_data_threshold_bytes=threshold)
    tensors = [v.const_value for v in read_model(tmp_path / "a.onnx").graph.initializers.values()]
    arrays = [t.numpy() for t in tensors if isinstance(t, MappedTensor)]
    maps = Path("/proc/self/maps").read_text()
    assert len(arrays) == 3
    assert maps.count(f"{tmp_path}/a.onnx") == 1


@pytest.mark.parametrize("kind", [ir.DataType.BFLOAT16, ir.DataType.FLOAT16, ir.DataType.INT4])
def test_a_mapped_tensor_of_any_type_is_written_as_it_lies(
    kind: ir.DataType, tmp_path: Path
) -> None:
    content = np.random.default_rng(0).bytes(8192)
    (tmp_path / "weights").write_bytes(content)
    tensor = MappedTensor(
        MappedFile(tmp_path / "weights"),
        offset=64, length=4096, dtype=kind, shape=ir.Shape([4096 * 8 // kind.bitwidth]), name="w",
    )  # fmt: skip
    assert tensor.tobytes() == b"".join(bytes_ahead([tensor])) == content[64 : 64 + 4096]
    assert tensor.numpy().shape == tuple(tensor.shape)


@pytest.mark.parametrize("kind", [ir.DataType.BFLOAT16, ir.DataType.FLOAT16, ir.DataType.INT4])
def test_a_large_mapped_tensor_is_written_in_parts(
    kind: ir.DataType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "_PART_BYTES", 1000)
    content = np.random.default_rng(0).bytes(8192)
    (tmp_path / "weights").write_bytes(content)
    tensor = MappedTensor(
        MappedFile(tmp_path / "weights"),
        offset=0, length=8192, dtype=kind, shape=ir.Shape([64, 128 * 8 // kind.bitwidth]), name="w",
    )  # fmt: skip
    parts = [bytes(part) for part in bytes_ahead([tensor, tensor])]
    assert b"".join(parts) == content * 2
    if kind.bitwidth >= 8:
        assert {len(part) for part in parts} == {7 * 128, 128}


def test_a_tensor_is_computed_a_few_rows_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "_PART_BYTES", 1 << 10)
    asked: list[slice] = []

    def rows(which: slice) -> Any:
        asked.append(which)
        return WEIGHT[which]

    lazy = RowsTensor(rows, ir.DataType.FLOAT, shape=ir.Shape(WEIGHT.shape), name="weight")
    write_model(model(half_weight("weight", lazy)), tmp_path / "model.onnx")
    written = read_model(tmp_path / "model.onnx").graph.initializers["weight"].const_value
    assert written is not None
    np.testing.assert_array_equal(written.numpy(), WEIGHT.astype(np.float16))
    assert asked == [slice(start, start + 8) for start in range(0, 64, 8)]
    np.testing.assert_array_equal(lazy.numpy(), WEIGHT)


def test_a_hollow_model_gets_its_weights_back(tmp_path: Path) -> None:
    write_model(model(), tmp_path / "model.onnx")
    proto, weights = hollow_out(read_model(tmp_path / "model.onnx"))
    assert set(weights) == {"weight"}
    assert len(proto.SerializeToString()) < 1000
    write_model(fill(proto, weights), tmp_path / "again.onnx")
    np.testing.assert_array_equal(run(tmp_path / "again.onnx"), WEIGHT[:3] + WEIGHT[0])


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        path.write_bytes(content)
        with pytest.raises(ValueError, match="no ONNX"):
            read_model(path)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_flipped_byte_never_gives_another_error_than_a_clear_one(place: int, flip: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        write_model(model(), path)
        content = bytearray(path.read_bytes())
        content[place % len(content)] ^= flip
        path.write_bytes(content)
        try:
            read_model(path)
        except ValueError as error:
            assert "graph.onnx" in str(error)


@pytest.mark.parametrize("location", ["../outside", "/etc/passwd", "absent"])
def test_external_data_that_is_not_beside_the_graph_is_refused(
    location: str, tmp_path: Path
) -> None:
    path = tmp_path / "in" / "graph.onnx"
    path.parent.mkdir()
    (tmp_path / "outside").write_bytes(bytes(64 * 64 * 4))
    write_model(model(), path, external_data_threshold_bytes=0)
    proto = onnx.load(str(path), load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ValueError, match="not a file beside it"):
        read_model(path)


@pytest.mark.filterwarnings("ignore:the float32 number")
@pytest.mark.parametrize("shape", [(0,), (3,), (700, 500), (2, 5, 40000)])
def test_halves_are_those_of_onnxconverter_common(shape: tuple[int, ...]) -> None:
    scales = 10.0 ** np.random.default_rng(0).uniform(-12, 6, shape)
    values = np.asarray(np.random.default_rng(1).choice([-1, 1], shape) * scales, np.float32)
    if values.size > 9:
        values.flat[:4] = [0, -0.0, np.inf, -np.inf]
    for array in (values, values.T):
        np.testing.assert_array_equal(to_half(array), convert_np_to_float16(array))


@pytest.mark.parametrize("number", [-65600, np.inf])
def test_what_half_precision_cannot_hold_is_not_cast(number: float) -> None:
    with pytest.raises(OverflowError):
        to_half(np.array([[0, 1], [number, 2]], np.float32), HALF_RANGE)


@pytest.mark.parametrize("shape", [(0, 3), (7,), (100, 2100), (1024, 512), (2, 3, 4)])
def test_a_transposed_array_is_laid_out_anew(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).random(shape, np.float32).T
    copy = contiguous(array)
    assert copy.flags.c_contiguous
    np.testing.assert_array_equal(copy, array)
