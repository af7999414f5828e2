"""Rows that graphs look up, compared with the source's table without running any layer."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx import numpy_helper as nh

from embconvert.fidelity.lookups import distinct_tokens, rows_are_kept
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.graph.onnx_file import read_artifact
from embconvert.models.choices import Precision

ROWS, WIDTH = 60, 32
TABLE = np.random.default_rng(0).normal(size=(ROWS, WIDTH)).astype(np.float32)
TOKENS = [0, 3, 17, ROWS - 1]

Nodes = list[onnx.NodeProto]
#: Returns nodes that make `rows` of `input_ids`, and their weights.
Lookup = Callable[[np.ndarray], tuple[Nodes, dict[str, np.ndarray]]]


def plain(table: np.ndarray) -> tuple[Nodes, dict[str, np.ndarray]]:
    return [helper.make_node("Gather", ["table", "input_ids"], ["rows"])], {"table": table}


def scaled(table: np.ndarray) -> tuple[Nodes, dict[str, np.ndarray]]:
    """As gemma's, whose rows are multiplied by a number."""
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["ids"], to=TensorProto.INT32),
        helper.make_node("Gather", ["table", "ids"], ["found"]),
        helper.make_node("Mul", ["found", "factor"], ["rows"]),
    ]
    return nodes, {"table": table, "factor": np.array(5.0, np.float32)}


def half(table: np.ndarray) -> tuple[Nodes, dict[str, np.ndarray]]:
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["found"]),
        helper.make_node("Cast", ["found"], ["rows"], to=TensorProto.FLOAT),
    ]
    return nodes, {"table": table.astype(np.float16)}


def integers(table: np.ndarray) -> tuple[Nodes, dict[str, np.ndarray]]:
    scales = np.abs(table).max(axis=1, keepdims=True) / np.float32(63)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["found"]),
        helper.make_node("Cast", ["found"], ["as_float"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["scales", "input_ids"], ["their_scales"]),
        helper.make_node("Mul", ["as_float", "their_scales"], ["rows"]),
    ]
    return nodes, {"table": np.rint(table / scales).astype(np.int8), "scales": scales}


def are_kept(path: Path, lookup: Lookup, table: np.ndarray, precision: Precision) -> bool:
    nodes, weights = lookup(table)
    # What follows reads another input, too, and is no row of a token.
    nodes.append(helper.make_node("Add", ["rows", "others"], ["sentence_embedding"]))
    graph = helper.make_graph(
        nodes,
        "graph",
        [
            helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"]),
            helper.make_tensor_value_info("others", TensorProto.FLOAT, [1]),
        ],
        [helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, None)],
        [nh.from_array(weight, name) for name, weight in weights.items()],
    )
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return rows_are_kept(read_artifact(path), TOKENS, TABLE[TOKENS], precision)


def integers_in_blocks(table: np.ndarray) -> tuple[Nodes, dict[str, np.ndarray]]:
    """As Q8 and Q4 have them: the scales are computed from halves."""
    scales = (np.abs(table).max(axis=1, keepdims=True) / np.float32(127)).astype(np.float16)
    nodes = [
        helper.make_node("Cast", ["scales"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "unit"], ["whole"]),
        helper.make_node(
            "GatherBlockQuantized", ["table", "input_ids", "whole"], ["rows"],
            domain="com.microsoft", bits=8, block_size=32, gather_axis=0, quantize_axis=1,
        ),
    ]  # fmt: skip
    packed = np.clip(np.rint(table / scales) + 128, 0, 255).astype(np.uint8)
    return nodes, {"table": packed, "scales": scales, "unit": np.array(1, np.float32)}


LOOKUPS = [
    (plain, Precision.FLOAT32), (scaled, Precision.FLOAT32), (half, Precision.FLOAT16),
    (integers, Precision.QINT8), (integers_in_blocks, Precision.Q8),
]  # fmt: skip


@pytest.mark.parametrize(("lookup", "precision"), LOOKUPS)
def test_rows_are_kept_up_to_the_loss_of_the_precision(
    lookup: Lookup, precision: Precision, tmp_path: Path
) -> None:
    assert are_kept(tmp_path / "a.onnx", lookup, TABLE, precision)


def swapped(table: np.ndarray) -> None:
    table[17] = table[18]


def turned(table: np.ndarray) -> None:
    table[17] *= -1


def overflowing(table: np.ndarray) -> None:
    table[17, 5] = np.inf


def unknown(table: np.ndarray) -> None:
    table[17, 5] = np.nan


@pytest.mark.parametrize(("lookup", "precision"), LOOKUPS[:3])
@pytest.mark.parametrize("plant", [swapped, turned, overflowing, unknown])
def test_one_wrong_row_is_found(
    plant: Callable[[np.ndarray], None], lookup: Lookup, precision: Precision, tmp_path: Path
) -> None:
    table = TABLE.copy()
    plant(table)
    assert not are_kept(tmp_path / "a.onnx", lookup, table, precision)


def test_rows_of_eight_bits_do_not_pass_for_those_of_float32(tmp_path: Path) -> None:
    assert not are_kept(tmp_path / "a.onnx", integers, TABLE, Precision.FLOAT32)


def test_a_graph_without_such_a_lookup_settles_nothing(tmp_path: Path) -> None:
    def hashed(table: np.ndarray) -> tuple[Nodes, dict[str, np.ndarray]]:
        nodes, weights = plain(table)
        nodes[0].input[1] = "bucket"
        number = helper.make_node("Mod", ["input_ids", "count"], ["bucket"])
        return [number, *nodes], weights | {"count": np.array(ROWS)}

    assert not are_kept(tmp_path / "a.onnx", hashed, TABLE, Precision.FLOAT32)


def test_the_tokens_of_texts_are_distinct() -> None:
    ids = (np.array([5, 2, 9]), np.array([2, 7]))
    texts = TokenizedTexts(ids=ids, type_ids=tuple(map(np.zeros_like, ids)))
    assert distinct_tokens(texts) == [2, 5, 7, 9]
