"""ONNX files are written and read without holding their weights."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embconvert.graph.hollow import hollow_out
from embconvert.graph.onnx_file import read_artifact, read_model, reference_weights, write_model
from embconvert.graph.streams import hash_file
from support.graph_corpus import PLACES, good_graph, tensors_of

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
@pytest.mark.parametrize("relative", [True, False])
def test_a_piece_refers_to_the_weights_beside_it_wherever_the_program_runs(
    relative: bool, threshold: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else all weights would be read into memory, as once with the default `models` folder."""
    monkeypatch.chdir(tmp_path)
    folder = Path("models") if relative else tmp_path / "models"
    folder.mkdir()
    write_model(model(), folder / "model.onnx", external_data_threshold_bytes=threshold)
    proto, weights = hollow_out(read_model(folder / "model.onnx"))
    assert weights
    assert reference_weights(proto, weights, folder) == []


def test_the_environment_lowers_what_a_file_holds_of_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert write_model(model(), tmp_path / "one.onnx").external_data is None
    monkeypatch.setenv("EMBCONVERT_EXTERNAL_DATA_BYTES", "0")
    external = write_model(model(), tmp_path / "two.onnx").external_data
    assert external is not None
    assert external.path == "two.onnx_data"


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


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        path.write_bytes(content)
        with pytest.raises(ValueError, match="not an ONNX file"):
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
    with pytest.raises(ValueError, match="not a file in the same folder"):
        read_model(path)


@pytest.mark.parametrize("place", [*PLACES[1:], "subgraph without nodes"])
def test_a_node_refers_to_no_other_file(place: str, tmp_path: Path) -> None:
    """Neither do its graphs: ONNX Runtime reads the file, which nobody has looked at."""
    proto = good_graph()
    tensor = tensors_of(proto, place.replace("subgraph without nodes", "subgraph's initializer"))
    if place == "subgraph without nodes":
        branch = proto.graph.node[-1].attribute[0].g
        del branch.node[:]
        branch.output[0].name = "bad"
    tensor.data_type, tensor.data_location = onnx.TensorProto.FLOAT, onnx.TensorProto.EXTERNAL
    tensor.dims.append(4)
    tensor.external_data.add(key="location", value="data")
    (tmp_path / "data").write_bytes(bytes(16))
    (tmp_path / "model.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ValueError, match="of a node refers to another file"):
        read_model(tmp_path / "model.onnx")
