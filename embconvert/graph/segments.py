"""Runs a graph piece by piece: all batches pass one piece before the next one is read.

ONNX Runtime loads whole graphs, and keeps constants computed from weights (such as float32 copies
of Float16). To save memory, the graph is cut where few values cross. Each piece has its own
session, whose weights ONNX Runtime maps from the graph's files; at most three are open. The
crossing values of all batches are kept. Weights in other files, if a float32 graph is never
written, are read into memory, for at most three pieces.
"""

import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

from embconvert.graph.cutting import Piece, cut
from embconvert.graph.hollow import TensorsByName, hollow_out, reads_of
from embconvert.graph.layout import contiguous
from embconvert.graph.onnx_file import read_model, reference_weights
from embconvert.graph.runtime import CPU_PROVIDER, NO_SPINNING, open_session, session_options
from embconvert.graph.value_types import ValueType, value_types
from embconvert.processes.resources import cpus

# A piece has a few layers of a large model, or one layer of a very large one.
_PIECES = 12
_SMALLEST_PIECE_BYTES, _LARGEST_PIECE_BYTES = 1 << 24, 1 << 29
#: Number of pieces that are opened at a time, possibly while another one runs.
_AT_A_TIME = 2
#: Ends the names of temporary graphs, which lie beside the weights that they refer to.
MAPPED_SUFFIX = ".mapped"
#: Operators that read only some rows of their first input.
_ROW_READERS = {"Gather", "GatherBlockQuantized"}


def _read_whole(node: Any) -> list[str]:
    """Returns the names of the values that a node reads completely."""
    names = list(reads_of(node))
    return names[1:] if node.op_type in _ROW_READERS else names


def _node_bytes(node: Any, weights: TensorsByName) -> int:
    """Returns the memory of a node's weights that are read completely, in ONNX Runtime.

    On the CPU it casts half-precision weights to float32.
    """
    import onnx_ir as ir

    found = [weights[name] for name in _read_whole(node) if name in weights]
    return sum(t.nbytes * (2 if t.dtype == ir.DataType.FLOAT16 else 1) for t in found)


class PiecewiseGraph:
    """A graph that runs piece by piece.

    Attributes:
        outputs: Names of the returned values.

    Args:
        proto: A hollow onnx.ModelProto, which must not change.
        weights: The weights removed from it.
        folder: For temporary files; weights in it are mapped.
        piece_bytes: Maximum memory of a piece's weights; None means a few layers of a large model,
            independent of the machine.
        options: Returns the options of a session, like session_options().
        wanted: Names of the values to return; None means the graph's outputs.
        types: From value_types(), if already known.
    """

    def __init__(
        self,
        proto: Any,
        weights: TensorsByName,
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
        self.outputs = [value.name for value in graph.output] if wanted is None else list(wanted)
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
        return len(self._pieces)

    def pieces(self, feeds: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Runs batches of inputs; yields a batch's index and a piece's outputs for it."""
        values = [dict(feed) for feed in feeds]
        wanted = set(self.outputs)
        types = dict(self._types)
        types |= {name: ValueType.of(value) for name, value in values[0].items()}
        with ThreadPoolExecutor(cpus()) as threads:
            coming = self._open_next(0, types, threads)
            for number, piece in enumerate(self._pieces):
                needed = {name for later in self._pieces[number + 1 :] for name in later.inputs}
                coming = coming or self._open_next(number, types, threads)
                wait(coming)
                session = coming.popleft().result()
                for index, known in enumerate(values):
                    if not coming:
                        coming = self._open_next(number + 1, types, threads)
                    feed = {name: known[name] for name in piece.inputs}
                    made = session.run(piece.outputs, feed)
                    known |= dict(zip(piece.outputs, made, strict=True))
                    types |= {name: ValueType.of(known[name]) for name in piece.outputs}
                    values[index] = {name: known[name] for name in known if name in needed}
                    yield index, {n: known[n] for n in piece.outputs if n in wanted}
                del session

    def _open_next(
        self, start: int, types: Mapping[str, ValueType], threads: Executor
    ) -> "deque[Future[Any]]":
        """Opens the piece at `start` and later ones that can be opened now.

        Packing a session's weights uses one CPU, so two are opened at a time.
        """
        pieces = self._pieces[start : start + _AT_A_TIME]
        ready = list(takewhile(lambda piece: types.keys() >= set(piece.inputs), pieces))
        known = dict(types)  # types are added while the pieces are opened
        return deque(threads.submit(self._open, piece, known) for piece in ready)

    def _open(self, piece: Piece, types: Mapping[str, ValueType]) -> Any:
        """Returns a session of a piece; `types` includes those of its inputs."""
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
        # Spinning threads would slow down the opening of the next pieces.
        options = self._options(**NO_SPINNING)
        with mapped(proto, self._weights, self._folder, options) as path:
            return open_session(path, options)


@contextmanager
def mapped(proto: Any, weights: TensorsByName, folder: Path, options: Any) -> Iterator[Path]:
    """Yields a temporary graph file that refers to weights in another graph's files.

    ONNX Runtime maps weights only from the graph's folder. Others are read and passed to the
    session.

    Args:
        proto: A hollow onnx.ModelProto; its placeholders are filled in.
        weights: From hollow_out of the other graph.
        folder: Of the other graph.
        options: Of the session that will read the file.
    """
    from onnxruntime import OrtValue

    elsewhere = reference_weights(proto, weights, folder)
    arrays = [contiguous(weights[name].numpy()) for name in elsewhere]
    options.add_external_initializers(elsewhere, list(map(OrtValue.ortvalue_from_numpy, arrays)))
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".", suffix=MAPPED_SUFFIX) as stream:
        stream.write(proto.SerializeToString())
        stream.flush()
        yield Path(stream.name)


def open_mapped(graph: Path, folder: Path, options: Any, provider: str = CPU_PROVIDER) -> Any:
    """Opens a graph whose large weights ONNX Runtime maps, instead of reading them into memory.

    Args:
        graph: The file; may contain its weights.
        folder: For a temporary file; weights in it are mapped.

    Raises:
        ValueError: It is not ONNX, or its external data is not there.
        Exception: ONNX Runtime cannot load it.
    """
    proto, weights = hollow_out(read_model(graph))
    with mapped(proto, weights, folder, options) as path:
        return open_session(path, options, provider)
