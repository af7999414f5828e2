"""Rows of the token table as a graph looks them up, without its layers.

A sample of the texts has only some of their tokens. So the rows of all tokens are compared with the
source's: a wrong or overflowing row shows only in the texts with its token.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from embconvert.fidelity.figures import FloatArray
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.graph.hollow import hollow_out, reads_of
from embconvert.graph.onnx_file import read_model
from embconvert.graph.runtime import open_session, plain_options
from embconvert.graph.segments import mapped
from embconvert.models.choices import Precision
from embconvert.models.values import OnnxArtifact

_IDS = "input_ids"
#: Operators that compute a weight from others.
_OF_WEIGHTS = {"Cast", "Mul"}
#: Operators that compute each token's row from its id and weights alone.
_BY_ROW = {"Gather", "GatherBlockQuantized", "Cast", "Identity", "Mul", "DequantizeLinear"}
# How much a row may differ, relative to its length or that of a usual row, if that is longer.
# Another token's row differs by more than 1; 4 bits differ by about 0.1.
_LARGEST_ERROR, _LARGEST_FLOAT32_ERROR = 0.5, 1e-3


def distinct_tokens(texts: TokenizedTexts) -> list[int]:
    """Returns the tokens of the texts, ascending."""
    return sorted({int(token) for ids in texts.ids for token in ids})


def rows_are_kept(
    artifact: OnnxArtifact, tokens: Sequence[int], theirs: FloatArray, precision: Precision
) -> bool:
    """Whether a graph looks up the source's rows, except for the loss of its precision.

    `theirs` are those of these tokens, (tokens, width) float32. Also False if the graph has no
    such lookup, or does not run.
    """
    proto, weights = hollow_out(read_model(artifact.path))
    part = _lookups_of(proto)
    if part is None:
        return False
    read = {name for node in part.graph.node for name in reads_of(node)}
    options = plain_options()
    try:
        used = {name: weight for name, weight in weights.items() if name in read}
        with mapped(part, used, artifact.path.parent, options) as path:
            session = open_session(path, options)
        made = session.run(None, {_IDS: np.array([tokens], np.int64)})
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - then all texts are run, and a real problem shows
        return False
    # Before and after a constant factor, and before and after the casts.
    values = [value[0] for value in made if value.shape == (1, *theirs.shape)]
    return any(_are_alike(theirs, value, precision) for value in values)


def _are_alike(theirs: FloatArray, ours: Any, precision: Precision) -> bool:
    sizes = np.linalg.norm(theirs, axis=1)
    errors = np.linalg.norm(theirs - ours.astype(np.float32), axis=1)
    most = _LARGEST_FLOAT32_ERROR if precision is Precision.FLOAT32 else _LARGEST_ERROR
    # Not `>` and any(): comparisons with what is not a number are false.
    return bool((errors <= most * np.maximum(sizes, np.median(sizes))).all())


def _lookups_of(proto: Any) -> Any | None:
    """Returns the part of a hollow onnx.ModelProto that depends on tokens and weights only."""
    import onnx

    constant = {tensor.name for tensor in proto.graph.initializer}
    constant |= {node.output[0] for node in proto.graph.node if node.op_type == "Constant"}
    by_row, nodes = {_IDS}, []
    computed: dict[str, Any] = {}  # from weights only, as scales are
    for node in proto.graph.node:
        inputs = set(filter(None, node.input))
        if node.op_type in _OF_WEIGHTS and inputs <= constant:
            computed[node.output[0]] = node
            constant.update(node.output)
        elif node.op_type in _BY_ROW and inputs & by_row and inputs <= by_row | constant:
            by_row.update(node.output)
            nodes.append(node)
    if not nodes:
        return None
    part = onnx.ModelProto()
    part.CopyFrom(proto)
    graph = part.graph
    read = {name for node in nodes for name in node.input}
    for name, node in reversed(computed.items()):
        if name in read:
            read.update(node.input)
    made = [
        n
        for n in proto.graph.node
        if (n.op_type == "Constant" or n.output[0] in computed) and n.output[0] in read
    ]
    ids = [value for value in proto.graph.input if value.name == _IDS]
    tensors = [tensor for tensor in proto.graph.initializer if tensor.name in read]
    for field in ("node", "input", "output", "value_info", "initializer"):
        graph.ClearField(field)
    graph.node.extend([*made, *nodes])
    graph.input.extend(ids)
    graph.initializer.extend(tensors)
    graph.output.extend(onnx.ValueInfoProto(name=name) for node in nodes for name in node.output)
    return part
