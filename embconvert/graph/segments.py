"""Running a graph piece by piece: all batches through one piece before the next is read.

ONNX Runtime loads a graph whole, and constants that it computes of weights (float32 ones of
Float16, say) stay as long as its session. With less memory than that, a graph is cut where few
values cross. Each piece is a session of its own, whose weights ONNX Runtime maps from the graph's
own files, and three are open at most; what crosses is kept for every batch. Weights that lie
elsewhere, as those of a graph whose float32 file is never written, are read into memory, three
pieces' at most.
"""

import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

from embconvert.graph.cutting import Piece, cut
from embconvert.graph.hollow import Weights, reads_of
from embconvert.graph.layout import contiguous
from embconvert.graph.onnx_file import reference_weights
from embconvert.graph.read_ahead import read_ahead
from embconvert.graph.runtime import NO_SPINNING, open_session, session_options
from embconvert.graph.value_types import ValueType, value_types
from embconvert.processes.heap import keep_freed
from embconvert.processes.resources import cpus
from embconvert.processes.stops import measured

# A piece is a few layers of a large model, or one of a very large one.
_PIECES = 12
_SMALLEST_PIECE_BYTES, _LARGEST_PIECE_BYTES = 1 << 24, 1 << 29
#: So many pieces are opened at a time, perhaps while another runs.
_AT_A_TIME = 2
#: Operators that read some rows of their first input only.
_ROW_READERS = {"Gather", "GatherBlockQuantized"}


def _read_whole(node: Any) -> list[str]:
    """Returns the names of the values that a node reads as a whole."""
    names = list(reads_of(node))
    return names[1:] if node.op_type in _ROW_READERS else names


def _node_bytes(node: Any, weights: Weights) -> int:
    """Returns what the weights that a node reads as a whole take in memory, as ONNX Runtime has it.

    On the CPU it makes float32 ones of half-precision ones.
    """
    import onnx_ir as ir

    found = [weights[name] for name in _read_whole(node) if name in weights]
    return sum(t.nbytes * (2 if t.dtype == ir.DataType.FLOAT16 else 1) for t in found)


class PiecewiseGraph:
    """A graph that runs piece by piece.

    Attributes:
        inputs: Names of the graph's inputs.
        outputs: Names of the values that are handed out.

    Args:
        proto: A hollow onnx.ModelProto; it is changed by nothing here, nor may others change it.
        weights: What was taken out of it.
        folder: Gets temporary files; weights that lie in it are mapped.
        piece_bytes: Most memory that the weights of one piece should take; None means that of a
            few layers of a large model, which the model alone decides.
        options: Makes those of a session, as session_options().
        wanted: Names of the values that are handed out; None means the graph's outputs.
        types: As value_types() tells; None means that nobody has asked yet.
    """

    def __init__(
        self,
        proto: Any,
        weights: Weights,
        folder: Path,
        *,
        piece_bytes: int | None = None,
        options: Callable[..., Any] = session_options,
        wanted: Sequence[str] | None = None,
        types: Mapping[str, ValueType] | None = None,
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
        usual = max(sum(sizes) // _PIECES, _SMALLEST_PIECE_BYTES)
        usual = min(usual, _LARGEST_PIECE_BYTES)
        self._pieces = cut(nodes, self.outputs, sizes, largest_bytes=piece_bytes or usual)
        if types is None:
            types = value_types(proto, weights) if len(self._pieces) > 1 else {}
        self._types = types

    def __len__(self) -> int:
        """Number of pieces."""
        return len(self._pieces)

    def pieces(
        self, feeds: Sequence[Mapping[str, Any]], *, timed: int = 0
    ) -> Iterator[tuple[int, dict[str, Any], float]]:
        """Runs batches; yields the index of one, what a piece made of it, and the seconds.

        Args:
            feeds: The graph's inputs of each batch.
            timed: So many of them, the first ones, run with nothing beside, but that the weights of
                the next pieces are read; while the others do, those are opened.
        """
        keep_freed()
        values = [dict(feed) for feed in feeds]
        wanted = set(self.outputs)
        types = dict(self._types)
        types |= {name: ValueType.of(value) for name, value in values[0].items()}
        with ThreadPoolExecutor(cpus()) as threads, ThreadPoolExecutor(1) as reader:

            def open_next(start: int) -> deque[Future[Any]]:
                opening = self._open_next(start, types, threads)
                if timed:
                    reader.submit(self._read_ahead, start + len(opening))
                return opening

            coming = open_next(0)
            for number, piece in enumerate(self._pieces):
                needed = {name for later in self._pieces[number + 1 :] for name in later.inputs}
                coming = coming or open_next(number)
                wait(coming)
                session = coming.popleft().result()
                for index, known in enumerate(values):
                    if index == timed and not coming:
                        coming = open_next(number + 1)
                    feed = {name: known[name] for name in piece.inputs}
                    made, duration = measured(partial(session.run, piece.outputs, feed))
                    known |= dict(zip(piece.outputs, made, strict=True))
                    types |= {name: ValueType.of(known[name]) for name in piece.outputs}
                    values[index] = {name: known[name] for name in known if name in needed}
                    yield index, {n: known[n] for n in piece.outputs if n in wanted}, duration
                del session

    def _open_next(
        self, start: int, types: Mapping[str, ValueType], threads: Executor
    ) -> "deque[Future[Any]]":
        """Opens the piece at `start`, and those behind it that can be opened now.

        One CPU packs a session's weights; two are opened at a time.
        """
        pieces = self._pieces[start : start + _AT_A_TIME]
        ready = list(takewhile(lambda piece: types.keys() >= set(piece.inputs), pieces))
        known = dict(types)  # more come to be known while they are opened
        return deque(threads.submit(self._open, piece, known) for piece in ready)

    def _read_ahead(self, start: int) -> None:
        """Reads float32 weights of the next pieces, without tables of which few rows are needed.

        Narrower ones are read in less time than it takes to make float32 of them, or to use them.
        """
        import onnx_ir as ir

        for piece in self._pieces[start : start + _AT_A_TIME]:
            nodes = self._proto.graph.node[piece.start : piece.end]
            names = dict.fromkeys(name for node in nodes for name in _read_whole(node))
            found = (self._weights[name] for name in names if name in self._weights)
            read_ahead(weight for weight in found if weight.dtype == ir.DataType.FLOAT)

    def _open(self, piece: Piece, types: Mapping[str, ValueType]) -> Any:
        """Returns a session of a piece.

        Args:
            piece: The piece.
            types: Of its inputs, among others.
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
            kind = types[name]
            shape = [None] * kind.axes
            graph.input.append(onnx.helper.make_tensor_value_info(name, kind.element, shape))
        graph.output.extend(onnx.ValueInfoProto(name=name) for name in piece.outputs)
        # Between their runs threads would keep the CPUs from opening the next pieces.
        options = self._options(**NO_SPINNING)
        with mapped(proto, self._weights, self._folder, options) as path:
            return open_session(path, options)


@contextmanager
def mapped(proto: Any, weights: Weights, folder: Path, options: Any) -> Iterator[Path]:
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
