"""Running a graph piece by piece: all batches through one piece before the next is read.

ONNX Runtime loads a graph whole, and constants that it computes of weights (float32 ones of
Float16, say) stay as long as its session. With less memory than that, a graph is cut where few
values cross. Each piece is a session of its own, whose weights ONNX Runtime maps from the graph's
own files; what crosses is kept for every batch.
"""

import contextlib
import ctypes
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embconvert.graph.hollow import Weights, hollow_out, reads_of
from embconvert.graph.onnx_file import read_model, reference_weights
from embconvert.graph.runtime import open_session, session_options

#: Weights below this are not worth a piece.
_NEXT_TO_NOTHING = 1 << 20
#: Operators that read some rows of their first input only.
_ROW_READERS = {"Gather", "GatherBlockQuantized"}


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a graph.

    Attributes:
        start: Its first node.
        end: The node behind its last.
        inputs: Names of the values that come from before, in order of their use.
        outputs: Names of the values that are used behind it.
    """

    start: int
    end: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def cut(
    nodes: Sequence[tuple[Sequence[str], Sequence[str]]],
    outputs: Sequence[str],
    node_bytes: Sequence[int],
    *,
    largest_bytes: int,
) -> list[Piece]:
    """Cuts a graph into pieces.

    Args:
        nodes: What each reads and makes, in an order in which they can run. Weights are left out.
        outputs: Of the graph.
        node_bytes: How much memory each node's weights take.
        largest_bytes: Most of a piece, unless one node alone needs more.
    """
    last_use = dict.fromkeys(outputs, len(nodes))
    for index, (reads, _) in reversed(list(enumerate(nodes))):
        for name in reads:
            last_use.setdefault(name, index)
    alive: set[str] = set()
    crossing = []  # how many values cross behind each node
    for index, (_, makes) in enumerate(nodes):
        alive |= {name for name in makes if name in last_use}
        alive = {name for name in alive if last_use[name] > index}
        crossing.append(len(alive))

    ends = []
    start = 0
    while start < len(nodes):
        size, end = node_bytes[start], start + 1
        # Behind a node that alone is too large, what has next to no weights may follow: what the
        # product with a vocabulary makes is larger than its weights, and must not cross.
        while end < len(nodes) and (
            size + node_bytes[end] <= largest_bytes
            or (node_bytes[start] > largest_bytes and node_bytes[end] < _NEXT_TO_NOTHING)
        ):
            size += node_bytes[end]
            end += 1
        if end < len(nodes):
            # In the second half of what would fit, where the fewest values cross.
            middle = start + (end - start) // 2
            end = 1 + min(range(middle, end), key=lambda i: (crossing[i], -i))
        ends.append(end)
        start = end
    return [
        _piece(nodes, start, end, last_use) for start, end in zip([0, *ends], ends, strict=False)
    ]


def _piece(
    nodes: Sequence[tuple[Sequence[str], Sequence[str]]],
    start: int,
    end: int,
    last_use: Mapping[str, int],
) -> Piece:
    made = dict.fromkeys(name for _, makes in nodes[start:end] for name in makes)
    read = dict.fromkeys(name for reads, _ in nodes[start:end] for name in reads)
    return Piece(
        start=start,
        end=end,
        inputs=tuple(name for name in read if name not in made),
        outputs=tuple(name for name in made if last_use.get(name, -1) >= end),
    )


class PiecewiseGraph:
    """A graph that runs piece by piece.

    Args:
        path: The graph; files are written beside it for a while, where its weights are.
        piece_bytes: Most memory that the weights of one piece should take.
    """

    def __init__(self, path: Path, *, piece_bytes: int) -> None:
        self._path = path
        self._proto, self._weights = hollow_out(read_model(path))
        graph = self._proto.graph
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self.inputs = [value.name for value in graph.input]
        self.outputs = [value.name for value in graph.output]
        nodes = [
            ([n for n in reads_of(node) if n not in self._constants], [n for n in node.output if n])
            for node in graph.node
        ]
        self._pieces = cut(
            nodes,
            self.outputs,
            [self._node_bytes(node) for node in graph.node],
            largest_bytes=piece_bytes,
        )

    def _node_bytes(self, node: Any) -> int:
        names = list(reads_of(node))
        if node.op_type in _ROW_READERS:
            names = names[1:]
        return sum(self._weights[name].nbytes for name in names if name in self._weights)

    def run(
        self, feeds: Sequence[Mapping[str, Any]], advance: Callable[[float], None]
    ) -> list[tuple[dict[str, Any], float]]:
        """Runs batches.

        Args:
            feeds: The graph's inputs of each batch.
            advance: Called with the share of the work that is done since the last call.

        Returns:
            For each batch the graph's outputs, by name, and the seconds that it took.
        """
        values = [dict(feed) for feed in feeds]
        seconds = [0.0] * len(feeds)
        for number, piece in enumerate(self._pieces):
            needed = {n for p in self._pieces[number + 1 :] for n in p.inputs} | set(self.outputs)
            # What the piece before has freed would stay with the C library.
            with contextlib.suppress(AttributeError, OSError):
                ctypes.CDLL(None).malloc_trim(0)
            for index, (made, duration) in enumerate(self._run_piece(piece, values)):
                known = values[index] | made
                values[index] = {name: known[name] for name in known if name in needed}
                seconds[index] += duration
                advance(1 / len(self._pieces) / len(values))
        return list(zip(values, seconds, strict=True))

    def _run_piece(
        self, piece: Piece, values: Sequence[Mapping[str, Any]]
    ) -> Iterator[tuple[dict[str, Any], float]]:
        """Yields what a piece makes of each batch's values, and the seconds that it took."""
        session = self._open(piece, values[0])
        for known in values:
            start = time.perf_counter()
            made = session.run(piece.outputs, {name: known[name] for name in piece.inputs})
            yield dict(zip(piece.outputs, made, strict=True)), time.perf_counter() - start

    def _open(self, piece: Piece, values: Mapping[str, Any]) -> Any:
        """Returns a session of a piece.

        Args:
            piece: The piece.
            values: Its inputs for one batch, which tell their types.
        """
        import onnx

        proto = onnx.ModelProto()
        proto.CopyFrom(self._proto)
        graph = proto.graph
        for field in ("node", "input", "output", "value_info", "initializer"):
            graph.ClearField(field)
        nodes = self._proto.graph.node[piece.start : piece.end]
        graph.node.extend(nodes)
        used = dict.fromkeys(n for node in nodes for n in reads_of(node) if n in self._constants)
        graph.initializer.extend(self._constants[name] for name in used)
        for name in piece.inputs:
            kind = onnx.helper.np_dtype_to_tensor_dtype(values[name].dtype)
            shape = [None] * values[name].ndim
            graph.input.append(onnx.helper.make_tensor_value_info(name, kind, shape))
        graph.output.extend(onnx.ValueInfoProto(name=name) for name in piece.outputs)
        with mapped_beside(proto, self._weights, self._path) as path:
            return open_session(path, session_options())


@contextmanager
def mapped_beside(proto: Any, weights: Weights, path: Path) -> Iterator[Path]:
    """Yields a temporary graph file whose weights lie in the files of another graph.

    ONNX Runtime maps them from there; it takes them from the graph's own folder only.

    Args:
        proto: A hollow onnx.ModelProto; its placeholders are filled in.
        weights: From hollow_out of the other graph.
        path: The other graph.
    """
    reference_weights(proto, weights)
    copy = path.with_name(f".{path.name}.mapped")
    try:
        copy.write_bytes(proto.SerializeToString())
        yield copy
    finally:
        copy.unlink(missing_ok=True)
