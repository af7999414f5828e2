"""Running a graph on ONNX Runtime over texts, as a consumer would."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from embconvert.fidelity.by_kind import COMPARISONS, Comparison
from embconvert.fidelity.figures import Embeddings, FloatArray
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.fidelity.workload import Workload
from embconvert.graph.runtime import open_session, session_options
from embconvert.graph.segments import PiecewiseGraph
from embconvert.kinds import Kind
from embconvert.model import OnnxArtifact
from embconvert.processes.resources import available_memory_bytes

# ONNX Runtime packs a piece's weights, and makes float32 ones of half-precision ones: several times
# their size.
_PIECE_SHARE = 1 / 20


@dataclass(frozen=True, kw_only=True)
class WorkloadRun:
    """What a model made of a workload.

    Attributes:
        embeddings: A row for each text of each group, in the groups' order.
        batch_cosine: Lowest cosine between a text's embedding in a batch of its like, in the
            mixed batch, and alone.
        texts_per_second: Over the batches of similar length.
    """

    embeddings: Embeddings
    batch_cosine: float
    texts_per_second: float


def join(parts: Sequence[Embeddings]) -> Embeddings:
    """Returns the embeddings of batches as one."""
    tokens = [part.tokens for part in parts if part.tokens is not None]
    return Embeddings(
        sentence=_joined([p.sentence for p in parts]),
        token_mean=_joined([p.token_mean for p in parts]),
        tokens=tuple(text for part in tokens for text in part) if tokens else None,
    )


def _summary(
    workload: Workload, results: Sequence[tuple[Embeddings, float]], comparison: Comparison
) -> WorkloadRun:
    """Returns the outcome of a workload.

    Args:
        workload: The batches.
        results: For each of its groups the embeddings, and the seconds that they took.
        comparison: How embeddings are compared.
    """
    embeddings = join([part for part, _ in results])
    seconds = sum(duration for _, duration in results[: len(workload.similar)])
    texts, count = workload.texts, len(workload.mixed)
    row_of = {index: row for row, index in enumerate(i for g in workload.similar for i in g)}
    usual = [row_of[index] for index in workload.mixed]
    mixed, alone = range(texts, texts + count), range(texts + count, texts + 2 * count)
    return WorkloadRun(
        embeddings=embeddings,
        batch_cosine=min(
            float(comparison.likeness(embeddings, usual, other).min()) for other in (mixed, alone)
        ),
        texts_per_second=texts / seconds,
    )


def _joined(parts: list[FloatArray | None]) -> FloatArray | None:
    arrays = [part for part in parts if part is not None]
    return np.concatenate(arrays) if len(arrays) == len(parts) else None


def run_graph(
    artifact: OnnxArtifact,
    texts: TokenizedTexts,
    workload: Workload,
    advance: Callable[[float], None],
    *,
    layer_by_layer: bool,
    kind: Kind = Kind.EMBEDDING,
) -> WorkloadRun:
    """Embeds a workload with a graph, on the CPU.

    Args:
        artifact: The graph.
        texts: Its input.
        workload: The batches.
        advance: Called with the share of the work that is done since the last call.
        layer_by_layer: Run it in pieces, which takes little memory.
        kind: Of its model.

    Raises:
        ValueError: The graph doesn't load, doesn't run, or has no known output.
    """
    run = _run_in_pieces if layer_by_layer else _run_whole

    def feed(indices: Sequence[int], inputs: Sequence[str]) -> dict[str, Any]:
        return texts.batch(indices, inputs)

    comparison = COMPARISONS[kind]
    results = run(artifact, workload, feed, advance)
    return _summary(
        workload,
        [
            (comparison.read(values, texts, group), seconds)
            for (values, seconds), group in zip(results, workload.groups, strict=True)
        ],
        comparison,
    )


#: From the indices of texts and the names of a graph's inputs to these inputs.
_Feed = Callable[[Sequence[int], Sequence[str]], dict[str, Any]]


def _run_whole(
    artifact: OnnxArtifact, workload: Workload, feed: _Feed, advance: Callable[[float], None]
) -> Iterator[tuple[dict[str, Any], float]]:
    """Yields a graph's outputs for each batch, and the seconds that they took."""
    session = _open_session(artifact)
    inputs = [i.name for i in session.get_inputs()]
    outputs = [o.name for o in session.get_outputs()]

    def run(indices: Sequence[int]) -> dict[str, Any]:
        with _running():
            return dict(zip(outputs, session.run(None, feed(indices, inputs)), strict=True))

    run(workload.similar[-1])  # the first run allocates; it is not timed
    for group in workload.groups:
        start = time.perf_counter()
        values = run(group)
        yield values, time.perf_counter() - start
        advance(len(group) / workload.size)


def _run_in_pieces(
    artifact: OnnxArtifact, workload: Workload, feed: _Feed, advance: Callable[[float], None]
) -> list[tuple[dict[str, Any], float]]:
    """As _run_whole."""
    piece_bytes = int(available_memory_bytes() * _PIECE_SHARE)
    graph = PiecewiseGraph.read(artifact.path, piece_bytes=piece_bytes)
    with _running():
        return graph.run([feed(group, graph.inputs) for group in workload.groups], advance)


@contextmanager
def _running() -> Iterator[None]:
    """Turns ONNX Runtime's errors into ValueError."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(f"the graph does not run: {error}") from error


def _open_session(artifact: OnnxArtifact) -> Any:
    try:
        return open_session(artifact.path, session_options())
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(f"ONNX Runtime refuses {artifact.path.name}: {error}") from error
