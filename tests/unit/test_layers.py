"""Which tensors of a graph are the ends of its layers, and how far they are from another's."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from embconvert.fidelity.layers import group_layers, layer_cosines
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.graph.onnx_file import write_model
from embconvert.model import OnnxArtifact

TEXTS = TokenizedTexts(
    ids=tuple(np.arange(1, 7 + n) % 9 for n in range(10)),
    type_ids=tuple(np.zeros(6 + n, np.int64) for n in range(10)),
    pad_id=0,
    pad_left=False,
)


def graph(path: Path, error: float = 0.0) -> OnnxArtifact:
    """Writes a table and two layers; the second one's matrix has an error."""
    random = np.random.default_rng(0)
    weights = [random.standard_normal((16, 16), dtype=np.float32) for _ in range(3)]
    weights[2] += error * random.standard_normal((16, 16), dtype=np.float32)
    ends = [f"/source/source.0/layer.{n}/Mul_output_0" for n in range(2)]
    made = helper.make_graph(
        [
            helper.make_node("Gather", ["w0", "input_ids"], ["embedded"]),
            helper.make_node("MatMul", ["embedded", "w1"], [ends[0]]),
            helper.make_node("MatMul", [ends[0], "w2"], [ends[1]]),
            helper.make_node("Identity", [ends[1]], ["last_hidden_state"]),
        ],
        "g",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "seq"])],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(w, f"w{n}") for n, w in enumerate(weights)],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return write_model(ir.from_proto(model), path)


def test_the_layer_where_a_graph_drifts_is_seen(tmp_path: Path) -> None:
    exported, other = graph(tmp_path / "a.onnx"), graph(tmp_path / "b.onnx", error=0.5)
    layers, _ = layer_cosines(exported, other, TEXTS, {})
    assert [layer.layer for layer in layers] == [0, 1]
    assert layers[0].cosine == 1
    assert 0.5 < layers[1].cosine < 0.99


def test_what_is_known_of_the_exported_graph_is_not_run_again(tmp_path: Path) -> None:
    exported = graph(tmp_path / "a.onnx")
    _, states = layer_cosines(exported, graph(tmp_path / "b.onnx", error=0.5), TEXTS, {})
    candidate = graph(tmp_path / "c.onnx", error=0.1)
    fresh = layer_cosines(exported, candidate, TEXTS, {})
    again = layer_cosines(exported, candidate, TEXTS, states)
    assert again[0] == fresh[0]
    inverted = {name: -values for name, values in states.items()}
    assert layer_cosines(exported, candidate, TEXTS, inverted)[0][0].cosine == -1


def test_the_last_tensors_of_each_layer_are_found_by_their_path() -> None:
    names = [
        "/source/source.0/embeddings/Add_output_0",
        *(
            f"/source/source.0/encoder/layer.{layer}/{module}_output_0"
            for layer in range(12)
            for module in ("a", "b", "attention/Add", "output/Add")
        ),
        "/source/source.1/ReduceSum_output_0",
    ]
    layers = group_layers(names)
    assert list(layers) == list(range(12))
    assert layers[10][-1] == "/source/source.0/encoder/layer.10/output/Add_output_0"


def test_a_list_inside_of_each_layer_is_not_taken_for_the_layers() -> None:
    names = [
        f"/source/source.0/encoder/block.{block}/layer.{part}/Add_output_0"
        for block in range(2)
        for part in range(2)
    ]
    assert {number: tensors[-1] for number, tensors in group_layers(names).items()} == {
        block: f"/source/source.0/encoder/block.{block}/layer.1/Add_output_0" for block in range(2)
    }


def test_sentence_transformers_modules_are_no_layers() -> None:
    assert group_layers([f"/source/source.{n}/Add_output_0" for n in range(3)]) == {}


def test_names_without_a_path_tell_no_layers() -> None:
    assert group_layers(["add_12", "layer_norm_3", "val_7"]) == {}
