"""Runs a graph on ONNX Runtime over texts, as a consumer would."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from embconvert.fidelity.comparison import Reader, comparison_for
from embconvert.fidelity.figures import Embeddings, FloatArray
from embconvert.fidelity.layers import (
    HiddenStates,
    batch_for_layers,
    layer_ends,
    of_tokens,
    present,
)
from embconvert.fidelity.runners import FileRunner
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.fidelity.workload import Workload
from embconvert.graph.hollow import hollow_out
from embconvert.graph.onnx_file import read_model
from embconvert.graph.segments import PiecewiseGraph
from embconvert.graph.value_types import value_types
from embconvert.models.forms import FormKind
from embconvert.models.kinds import KINDS, Kind
from embconvert.models.output_rules import OutputRules
from embconvert.models.values import UNKNOWN_TYPE, OnnxArtifact
from embconvert.processes.resources import available_memory_bytes, cpus

# Maximum number of batches that run at a time; each needs memory for its activations. Where less
# than so many times the graph's size is available, and for vocabulary logits, it is one.
_MOST_AT_A_TIME, _ROOM = 4, 4
# Three pieces are in memory, and ONNX Runtime's packed weights need several times their size.
_PIECE_SHARE = 1 / 20


@dataclass(frozen=True, kw_only=True)
class WorkloadRun:
    """The result of a workload.

    Attributes:
        embeddings: One row per text of each group, in the groups' order.
        batch: Lowest similarity between a text's embeddings in a batch of similar length, in the
            mixed batch, and alone.
        hidden: Hidden states after each layer, for a graph that ran in pieces; see layers.py.
        is_rest_finite: Whether the outputs for the workload's other texts are finite, or were not
            computed.
    """

    embeddings: Embeddings
    batch: float
    hidden: HiddenStates
    is_rest_finite: bool = True


def join(parts: Sequence[Embeddings]) -> Embeddings:
    """Concatenates the embeddings of batches."""
    tokens = [part.tokens for part in parts if part.tokens is not None]
    words = [part.words for part in parts if part.words is not None]
    return Embeddings(
        sentence=_joined([p.sentence for p in parts]),
        token_mean=_joined([p.token_mean for p in parts]),
        tokens=tuple(text for part in tokens for text in part) if tokens else None,
        words=tuple(text for part in words for text in part) if words else None,
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
    rules: OutputRules | None = None,
    hidden: Sequence[str] | None = (),
    runs_rest: bool = False,
    piece_bytes: int | None = None,
) -> WorkloadRun:
    """Runs a workload with a graph, on the CPU.

    Args:
        advance: Gets the share of work since the last call.
        layer_by_layer: Run the graph in pieces, to save memory; a file of another form runs whole.
        rules: How the outputs are read; None if they are float vectors.
        hidden: Names of hidden states to return for a graph that runs in pieces; None means those
            after each layer.
        runs_rest: Also run the texts of `workload.rest`.
        piece_bytes: Maximum size of a piece's weights; None means a share of the memory.

    Raises:
        ValueError: The graph does not load, does not run, or has not the outputs of its record.
    """
    comparison = comparison_for(kind, rules)
    read = _refusing_other_outputs(comparison.read, artifact)
    groups = workload.groups
    batches = (*groups, *(workload.rest if runs_rest else ()))
    states: HiddenStates = {}
    if layer_by_layer and not artifact.forms:
        compared = batch_for_layers(workload, texts.lengths)
        results, states = _run_in_pieces(
            artifact, texts, batches, compared, read, advance, hidden, piece_bytes
        )
    else:
        at_a_time = min(_MOST_AT_A_TIME, cpus())
        roomy = _ROOM * artifact.total_size_bytes < available_memory_bytes()
        if KINDS[kind].has_token_logits or not roomy:
            at_a_time = 1
        runner = FileRunner(artifact, texts, cpus() // at_a_time if at_a_time > 1 else None)
        results = _run_whole(runner, batches, read, advance, at_a_time)
    embeddings = join(results[: len(groups)])
    row_of = {index: row for row, index in enumerate(i for g in workload.similar for i in g)}
    again = [row_of[index] for index in (*workload.mixed, *workload.alone)]
    rows = range(workload.texts, workload.texts + len(again))
    return WorkloadRun(
        embeddings=embeddings,
        batch=float(comparison.likeness(embeddings, again, rows).min()),
        hidden=states,
        is_rest_finite=all(other.is_finite for other in results[len(groups) :]),
    )


def _refusing_other_outputs(read: Reader, artifact: OnnxArtifact) -> Reader:
    """Returns a reader that raises ValueError if a file has not the outputs that its record says.

    Programs look them up by name, but some outputs are compared by their rank, or not at all.
    """
    if any(form.kind is FormKind.TEXT for form in artifact.forms):
        return read  # its only output is run by its name
    recorded = {value.name: value.numpy_type for value in artifact.outputs}

    def checked(
        values: Mapping[str, Any], texts: TokenizedTexts, indices: Sequence[int]
    ) -> Embeddings:
        found = {
            name: UNKNOWN_TYPE if recorded.get(name) == UNKNOWN_TYPE else str(value.dtype)
            for name, value in values.items()
        }
        if found != recorded:
            raise ValueError(f"it has the outputs {_listed(found)}, not {_listed(recorded)}")
        return read(values, texts, indices)

    return checked


def _listed(outputs: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({dtype})" for name, dtype in outputs.items()) or "none"


def _run_whole(
    runner: FileRunner,
    groups: Sequence[Sequence[int]],
    read: Reader,
    advance: Callable[[float], None],
    at_a_time: int,
) -> list[Embeddings]:
    """Returns the embeddings of each batch.

    Several batches at a time, each with a share of the CPUs, take less time than one after the
    other with all: threads of small products wait for each other.
    """

    def run(index: int) -> Embeddings:
        group = groups[index]
        with _running():
            values = runner.outputs(group)
        return read(values, runner.texts, group)

    size = sum(map(len, groups))
    results: list[Embeddings] = []
    with ThreadPoolExecutor(at_a_time) as threads:
        for result in threads.map(run, range(len(groups))):
            advance(len(groups[len(results)]) / size)
            results.append(result)
    return results


def _run_in_pieces(
    artifact: OnnxArtifact,
    texts: TokenizedTexts,
    batches: Sequence[Sequence[int]],
    compared: int,
    read: Reader,
    advance: Callable[[float], None],
    hidden: Sequence[str] | None,
    piece_bytes: int | None,
) -> tuple[list[Embeddings], HiddenStates]:
    """Returns the embeddings of each batch, and hidden states of the batch `compared`."""
    if piece_bytes is None:
        piece_bytes = int(available_memory_bytes() * _PIECE_SHARE)
    proto, weights = hollow_out(read_model(artifact.path))
    outputs = [value.name for value in proto.graph.output]
    types = value_types(proto, weights)
    ends = layer_ends(proto, types) if hidden is None else present(proto, hidden)
    graph = PiecewiseGraph(
        proto,
        weights,
        artifact.path.parent,
        piece_bytes=piece_bytes,
        wanted=list(dict.fromkeys([*outputs, *ends])),
        types=types,
    )
    inputs = {*graph.inputs, "attention_mask"}
    feeds = [texts.batch(group, inputs) for group in batches]
    values: list[dict[str, Any]] = [{} for _ in feeds]
    results: dict[int, Embeddings] = {}
    states: dict[str, FloatArray] = {}
    with _running():
        for index, made in graph.pieces(feeds):
            values[index] |= {name: made[name] for name in outputs if name in made}
            if index == compared:
                after_layers = {name: made[name] for name in ends if name in made}
                states |= of_tokens(after_layers, feeds[index]["attention_mask"])
            if len(values[index]) == len(outputs) and index not in results:
                # Once complete: the token logits of all batches would not fit into memory.
                results[index] = read(values[index], texts, batches[index])
                values[index] = {}
            advance(1 / len(graph) / len(feeds))
    for index in range(len(feeds)):
        if index not in results:
            results[index] = read(values[index], texts, batches[index])
    return [results[index] for index in range(len(feeds))], states


@contextmanager
def _running() -> Iterator[None]:
    """Turns ONNX Runtime's errors into ValueError."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(f"the graph does not run: {error}") from error
