"""Running a graph on ONNX Runtime over texts, as a consumer would."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from embconvert.fidelity.by_kind import COMPARISONS, Comparison
from embconvert.fidelity.figures import Embeddings, FloatArray
from embconvert.fidelity.layers import (
    HiddenStates,
    batch_for_layers,
    layer_ends,
    of_tokens,
    present,
)
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.fidelity.workload import Workload
from embconvert.graph.hollow import hollow_out
from embconvert.graph.onnx_file import read_model
from embconvert.graph.runtime import open_session, session_options
from embconvert.graph.segments import PiecewiseGraph
from embconvert.graph.value_types import value_types
from embconvert.models.kinds import Kind
from embconvert.models.values import OnnxArtifact
from embconvert.processes.resources import available_memory_bytes
from embconvert.processes.stops import measured

# Three pieces are in memory, and ONNX Runtime packs their weights: several times their size.
_PIECE_SHARE = 1 / 20


@dataclass(frozen=True, kw_only=True)
class WorkloadRun:
    """What a model made of a workload.

    Attributes:
        embeddings: A row for each text of each group, in the groups' order.
        batch: Lowest cosine between a text's embedding in a batch of its like, in the
            mixed batch, and alone.
        texts_per_second: Over the batches of similar length.
        hidden: The hidden states after each layer, of a graph that ran in pieces; see layers.py.
    """

    embeddings: Embeddings
    batch: float
    texts_per_second: float
    hidden: HiddenStates


def join(parts: Sequence[Embeddings]) -> Embeddings:
    """Returns the embeddings of batches as one."""
    tokens = [part.tokens for part in parts if part.tokens is not None]
    return Embeddings(
        sentence=_joined([p.sentence for p in parts]),
        token_mean=_joined([p.token_mean for p in parts]),
        tokens=tuple(text for part in tokens for text in part) if tokens else None,
    )


def _summary(
    workload: Workload,
    results: Sequence[tuple[Embeddings, float]],
    comparison: Comparison,
    hidden: HiddenStates,
) -> WorkloadRun:
    """Returns the outcome of a workload.

    Args:
        workload: The batches.
        results: For each of its groups the embeddings, and the seconds that they took.
        comparison: How embeddings are compared.
        hidden: See WorkloadRun.
    """
    embeddings = join([part for part, _ in results])
    seconds = sum(duration for _, duration in results[: len(workload.similar)])
    texts = workload.texts
    row_of = {index: row for row, index in enumerate(i for g in workload.similar for i in g)}
    again = [row_of[index] for index in (*workload.mixed, *workload.alone)]
    rows = range(texts, texts + len(again))
    return WorkloadRun(
        embeddings=embeddings,
        batch=float(comparison.likeness(embeddings, again, rows).min()),
        texts_per_second=texts / seconds,
        hidden=hidden,
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
    hidden: Sequence[str] | None = (),
) -> WorkloadRun:
    """Embeds a workload with a graph, on the CPU.

    Args:
        artifact: The graph.
        texts: Its input.
        workload: The batches.
        advance: Called with the share of the work that is done since the last call.
        layer_by_layer: Run it in pieces, which takes little memory.
        kind: Of its model.
        hidden: The hidden states that are wanted of a graph that runs in pieces, by name; None
            means those after each layer.

    Raises:
        ValueError: The graph doesn't load, doesn't run, or has no known output.
    """
    comparison = COMPARISONS[kind]
    results: Iterable[tuple[dict[str, Any], float]]
    states: HiddenStates = {}
    if layer_by_layer:
        results, states = _run_in_pieces(artifact, texts, workload, advance, hidden)
    else:
        results = _run_whole(artifact, texts, workload, advance)
    return _summary(
        workload,
        [
            (comparison.read(values, texts, group), seconds)
            for (values, seconds), group in zip(results, workload.groups, strict=True)
        ],
        comparison,
        states,
    )


def _run_whole(
    artifact: OnnxArtifact,
    texts: TokenizedTexts,
    workload: Workload,
    advance: Callable[[float], None],
) -> Iterator[tuple[dict[str, Any], float]]:
    """Yields a graph's outputs for each batch, and the seconds that they took."""
    session = _open_session(artifact)
    inputs = [i.name for i in session.get_inputs()]
    outputs = [o.name for o in session.get_outputs()]

    def run(indices: Sequence[int]) -> dict[str, Any]:
        with _running():
            return dict(zip(outputs, session.run(None, texts.batch(indices, inputs)), strict=True))

    run(workload.similar[-1])  # the first run allocates; it is not timed
    for group in workload.groups:
        yield measured(partial(run, group))
        advance(len(group) / workload.size)


def _run_in_pieces(
    artifact: OnnxArtifact,
    texts: TokenizedTexts,
    workload: Workload,
    advance: Callable[[float], None],
    hidden: Sequence[str] | None,
) -> tuple[list[tuple[dict[str, Any], float]], HiddenStates]:
    """Returns what _run_whole yields, and the hidden states of a few texts."""
    proto, weights = hollow_out(read_model(artifact.path))
    outputs = [value.name for value in proto.graph.output]
    types = value_types(proto, weights)
    ends = layer_ends(proto, types) if hidden is None else present(proto, hidden)
    graph = PiecewiseGraph(
        proto,
        weights,
        artifact.path.parent,
        piece_bytes=int(available_memory_bytes() * _PIECE_SHARE),
        wanted=list(dict.fromkeys([*outputs, *ends])),
        types=types,
    )
    inputs = {*graph.inputs, "attention_mask"}
    feeds = [texts.batch(group, inputs) for group in workload.groups]
    compared = batch_for_layers(workload, texts.lengths)
    values: list[dict[str, Any]] = [{} for _ in feeds]
    seconds = [0.0] * len(feeds)
    states: dict[str, FloatArray] = {}
    with _running():
        for index, made, duration in graph.pieces(feeds, timed=len(workload.similar)):
            values[index] |= {name: made[name] for name in outputs if name in made}
            seconds[index] += duration
            if index == compared:
                after_layers = {name: made[name] for name in ends if name in made}
                states |= of_tokens(after_layers, feeds[index]["attention_mask"])
            advance(1 / len(graph) / len(feeds))
    return list(zip(values, seconds, strict=True)), states


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
