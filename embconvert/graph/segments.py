"""Running a graph piece by piece: all batches through one piece before the next is read.

ONNX Runtime loads a graph whole, and constants that it computes of weights (float32 ones of
Float16, say) stay as long as its session. With less memory than that, a graph is cut where few
values cross. Each piece is a session of its own, whose weights ONNX Runtime maps from the graph's
own files; what crosses is kept for every batch. Weights that lie elsewhere, as those of a graph
whose float32 file is never written, are read into memory, a piece's at a time.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embconvert.graph.hollow import Weights, hollow_out, reads_of
from embconvert.graph.layout import contiguous
from embconvert.graph.onnx_file import read_model, reference_weights
from embconvert.graph.runtime import open_session, session_options
from embconvert.processes.heap import give_back_freed

#: Weights below this are not worth a piece.
_NEXT_TO_NOTHING = 1 << 20
# A piece is a few layers of a large model, or one of a very large one.
_PIECES = 12
_SMALLEST_PIECE_BYTES, _LARGEST_PIECE_BYTES = 1 << 24, 1 << 29
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

    Returns:
        Those that make something that is used.
    """
    last_use: dict[str, int] = {}
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
    last_use |= dict.fromkeys(outputs, len(nodes))
    pieces = (
        _piece(nodes, start, end, last_use) for start, end in zip([0, *ends], ends, strict=False)
    )
    return [piece for piece in pieces if piece.outputs]


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


def _node_bytes(node: Any, weights: Weights) -> int:
    """Returns the size of the weights that a node reads as a whole."""
    names = list(reads_of(node))
    if node.op_type in _ROW_READERS:
        names = names[1:]
    return sum(weights[name].nbytes for name in names if name in weights)


class PiecewiseGraph:
    """A graph that runs piece by piece.

    Attributes:
        inputs: Names of the graph's inputs.
        outputs: Names of the values that are handed out.
        weight_bytes: Size of the weights that it computes with, tables left out.

    Args:
        proto: A hollow onnx.ModelProto; it is changed by nothing here, nor may others change it.
        weights: What was taken out of it.
        folder: Gets temporary files; weights that lie in it are mapped.
        piece_bytes: Most memory that the weights of one piece should take; None means that of a
            few layers of a large model, which the model alone decides.
        options: Makes those of a session.
        wanted: Names of the values that are handed out; None means the graph's outputs.
    """

    def __init__(
        self,
        proto: Any,
        weights: Weights,
        folder: Path,
        *,
        piece_bytes: int | None = None,
        options: Callable[[], Any] = session_options,
        wanted: Sequence[str] | None = None,
    ) -> None:
        self._proto = proto
        self._weights = weights
        self._folder = folder
        self._options = options
        graph = proto.graph
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self.inputs = [value.name for value in graph.input]
        self.outputs = list(wanted or [value.name for value in graph.output])
        nodes = [
            ([n for n in reads_of(node) if n not in self._constants], [n for n in node.output if n])
            for node in graph.node
        ]
        sizes = [_node_bytes(node, weights) for node in graph.node]
        self.weight_bytes = sum(sizes)
        usual = max(self.weight_bytes // _PIECES, _SMALLEST_PIECE_BYTES)
        usual = min(usual, _LARGEST_PIECE_BYTES)
        self._pieces = cut(nodes, self.outputs, sizes, largest_bytes=piece_bytes or usual)

    @classmethod
    def read(cls, path: Path, *, piece_bytes: int) -> "PiecewiseGraph":
        """Returns the graph of a file; others are written beside it for a while."""
        proto, weights = hollow_out(read_model(path))
        return cls(proto, weights, path.parent, piece_bytes=piece_bytes)

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
        results: list[dict[str, Any]] = [{} for _ in feeds]
        seconds = [0.0] * len(feeds)
        for index, made, duration in self.pieces(feeds):
            results[index] |= made
            seconds[index] += duration
            advance(1 / len(self._pieces) / len(feeds))
        return list(zip(results, seconds, strict=True))

    def pieces(
        self, feeds: Sequence[Mapping[str, Any]]
    ) -> Iterator[tuple[int, dict[str, Any], float]]:
        """Runs batches; yields the index of one, what a piece made of it, and the seconds.

        Args:
            feeds: The graph's inputs of each batch.
        """
        values = [dict(feed) for feed in feeds]
        wanted = set(self.outputs)
        for number, piece in enumerate(self._pieces):
            needed = {name for later in self._pieces[number + 1 :] for name in later.inputs}
            # What the piece before has freed would stay with the C library.
            give_back_freed()
            session = self._open(piece, values[0])
            for index, known in enumerate(values):
                start = time.perf_counter()
                made = session.run(piece.outputs, {name: known[name] for name in piece.inputs})
                duration = time.perf_counter() - start
                known |= dict(zip(piece.outputs, made, strict=True))
                values[index] = {name: known[name] for name in known if name in needed}
                yield index, {n: known[n] for n in piece.outputs if n in wanted}, duration

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
        options = self._options()
        with _mapped(proto, self._weights, self._folder, options) as path:
            return open_session(path, options)


@contextmanager
def _mapped(proto: Any, weights: Weights, folder: Path, options: Any) -> Iterator[Path]:
    """Yields a temporary graph file whose weights lie in the files of another graph.

    ONNX Runtime maps them from there; it takes them from the graph's own folder only. Others are
    read, and handed to the session.

    Args:
        proto: A hollow onnx.ModelProto; its placeholders are filled in.
        weights: From hollow_out of the other graph.
        folder: Where the other graph lies.
        options: Of the session that is to read the file.
    """
    from onnxruntime import OrtValue

    elsewhere = reference_weights(proto, weights, folder)
    arrays = [contiguous(weights[name].numpy()) for name in elsewhere]
    options.add_external_initializers(elsewhere, list(map(OrtValue.ortvalue_from_numpy, arrays)))
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".", suffix=".mapped") as stream:
        stream.write(proto.SerializeToString())
        stream.flush()
        yield Path(stream.name)
