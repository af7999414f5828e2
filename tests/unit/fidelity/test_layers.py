"""Which tensors of a graph are the ends of its layers, and how far they are from another's."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from embconvert.fidelity.embedding import run_graph
from embconvert.fidelity.layers import (
    LAYER_TEXTS,
    batch_for_layers,
    compare_layers,
    group_layers,
    hidden_states,
)
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.fidelity.workload import Workload, make_workload
from embconvert.graph.onnx_file import write_model
from embconvert.models.values import OnnxArtifact

TEXTS = TokenizedTexts(
    ids=tuple(np.arange(1, 7 + n) % 9 for n in range(10)),
    type_ids=tuple(np.zeros(6 + n, np.int64) for n in range(10)),
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
    theirs = hidden_states(graph(tmp_path / "a.onnx"), TEXTS)
    ours = hidden_states(graph(tmp_path / "b.onnx", error=0.5), TEXTS, list(theirs))
    layers = compare_layers(theirs, ours)
    assert [layer.layer for layer in layers] == [0, 1]
    assert layers[0].cosine == 1
    assert 0.5 < layers[1].cosine < 0.99


@pytest.mark.parametrize("piece_bytes", [None, 1])
def test_a_graph_that_runs_in_pieces_gives_them_by_the_way(
    tmp_path: Path, piece_bytes: int | None
) -> None:
    artifact, workload = graph(tmp_path / "a.onnx"), make_workload(TEXTS.lengths)
    run = run_graph(
        artifact, TEXTS, workload, lambda _: None,
        layer_by_layer=True, hidden=None, piece_bytes=piece_bytes,
    )  # fmt: skip
    batch = workload.groups[batch_for_layers(workload, TEXTS.lengths)]
    expected = hidden_states(artifact, TEXTS.subset(batch[:LAYER_TEXTS]))
    assert list(run.hidden) == list(expected)
    for name, values in run.hidden.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-5)


def test_a_layer_that_a_graph_names_otherwise_is_left_out(tmp_path: Path) -> None:
    theirs = hidden_states(graph(tmp_path / "a.onnx"), TEXTS)
    first, second = theirs
    assert hidden_states(graph(tmp_path / "b.onnx"), TEXTS, ["gone", second]).keys() == {second}
    assert [layer.layer for layer in compare_layers(theirs, {first: theirs[first]})] == [0]


def blocks(path: Path, dtype: str) -> OnnxArtifact:
    """Writes a table and two layers of 8-bit blocks, whose scales and inputs have a type."""
    random = np.random.default_rng(0)
    table = random.standard_normal((16, 64), dtype=np.float32)
    ends = [f"/source/source.0/layer.{n}/Mul_output_0" for n in range(2)]
    weights = [
        numpy_helper.from_array(table.astype(dtype), "table"),
        numpy_helper.from_array(np.ones(64, dtype), "ones"),
    ]
    for n in range(2):
        integers = random.integers(0, 256, (64, 2, 32), np.uint8)
        scales = (random.random(128) / 500).astype(dtype)
        weights += [
            numpy_helper.from_array(integers, f"w{n}"), numpy_helper.from_array(scales, f"s{n}")
        ]  # fmt: skip
    made = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "input_ids"], ["embedded"]),
            # What has no kernel for half precision on a CPU: a product between such is cast, too.
            helper.make_node("Mul", ["embedded", "ones"], ["scaled"]),
            *(
                node
                for n, (before, end) in enumerate(zip(["scaled", ends[0]], ends, strict=True))
                for node in (
                    helper.make_node(
                        "MatMulNBits", [before, f"w{n}", f"s{n}"], [f"product{n}"],
                        domain="com.microsoft",
                        K=64, N=64, bits=8, block_size=32, accuracy_level=4,
                    ),
                    helper.make_node("Mul", [f"product{n}", "ones"], [end]),
                )
            ),
            helper.make_node("Cast", [ends[1]], ["last_hidden_state"], to=TensorProto.FLOAT),
        ],
        "g",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "seq"])],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, None)],
        weights,
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return write_model(
        ir.from_proto(helper.make_model(made, opset_imports=opsets, ir_version=8)), path
    )


def test_blocks_with_scales_in_half_precision_are_not_run_without_optimizations(
    tmp_path: Path,
) -> None:
    """ONNX Runtime gives wrong values then, and the report showed a loss that no user has."""
    theirs = hidden_states(blocks(tmp_path / "a.onnx", "float32"), TEXTS)
    ours = hidden_states(blocks(tmp_path / "b.onnx", "float16"), TEXTS, list(theirs))
    assert [layer.cosine > 0.999 for layer in compare_layers(theirs, ours)] == [True, True]


def test_the_texts_are_of_usual_length() -> None:
    workload = Workload(similar=((0, 1), (2, 3), (4, 5)), mixed=(0,))
    assert batch_for_layers(workload, [200, 190, 60, 50, 5, 4]) == 1
    assert batch_for_layers(workload, [200, 190, 80, 70, 66, 65]) == 2


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
