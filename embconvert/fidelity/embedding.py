"""Running a graph on ONNX Runtime over texts, as a consumer would."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from embconvert.fidelity.by_kind import COMPARISONS, Comparison
from embconvert.fidelity.figures import Embeddings, FloatArray
from embconvert.fidelity.texts import Item, Query, batches
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.graph.runtime import open_session, session_options
from embconvert.graph.segments import PiecewiseGraph
from embconvert.kinds import Kind
from embconvert.model import OnnxArtifact
from embconvert.processes.resources import available_memory_bytes

# ONNX Runtime packs a piece's weights, and makes float32 ones of half-precision ones: several times
# their size; the process with the source is there, too.
_PIECE_SHARE = 1 / 20

# What the comparison of one graph may cost: all texts up to the first figure, which a model of 100
# million parameters (BERT base) stays below; else a sample for about the second, some fifteen
# seconds on two cores.
_COMPLETE_FLOP = 5e12
_SAMPLE_FLOP = 1.5e12
_SMALLEST_SAMPLE = 16
_SHORT_TEXT = 48

# So many texts of all lengths up to this one are embedded once more in one mixed batch, and alone;
# padded to a longer one they would cost as much as all others.
_MIXED_BATCH = 12
_MIXED_TOKENS = 96

# The most tokens of a batch, padding included; a longer text is alone.
_BATCH_TOKENS = 2048

# The most that a batch's widest value may be, where that is one of numbers for each word of a
# vocabulary; there are about three of them at a time.
_WIDEST_BYTES = 1 << 27


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The batches that the source and every graph embed.

    Both see the same padding: some models (convbert, mobilebert) read it, so that their vectors
    depend on it in torch already.

    Attributes:
        similar: Batches of texts of similar length; each text is in one.
        mixed: Some texts of all lengths, which are embedded again in one batch, and alone.
    """

    similar: tuple[tuple[int, ...], ...]
    mixed: tuple[int, ...]

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Every batch: the similar ones, the mixed one, those of one text."""
        return (*self.similar, self.mixed, *((index,) for index in self.mixed))

    @property
    def texts(self) -> int:
        """Different texts."""
        return sum(map(len, self.similar))

    @property
    def size(self) -> int:
        """Texts to embed, those that come again included."""
        return sum(map(len, self.groups))


def make_workload(
    lengths: Sequence[int], flop_per_token: float = 0.0, wide_values: int = 0
) -> Workload:
    """Lays out the batches: of all texts, or for a large model of a sample of all lengths.

    Args:
        lengths: Tokens of each text; none may be empty.
        flop_per_token: That one token costs in the model.
        wide_values: Float32 numbers for each token that bound a batch; 0 for no bound but the
            usual one.
    """
    by_length = sorted(range(len(lengths)), key=lambda i: lengths[i])
    most, shortest = _BATCH_TOKENS, _MIXED_TOKENS
    if wide_values:
        most = min(most, _WIDEST_BYTES // (4 * wide_values))
        shortest = min(shortest, most // _MIXED_BATCH)
    mixable = [i for i in by_length if lengths[i] <= shortest] or by_length[:1]
    complete = Workload(
        similar=tuple(tuple(group) for group in batches(lengths, tokens=most)),
        mixed=tuple(_evenly(mixable, _MIXED_BATCH)),
    )
    if _padded_tokens(complete, lengths) * flop_per_token <= _COMPLETE_FLOP:
        return complete
    tokens = max(_SAMPLE_FLOP / flop_per_token, _SMALLEST_SAMPLE * _SHORT_TEXT)
    usable = [i for i in by_length if lengths[i] <= max(tokens / 6, _SHORT_TEXT)]
    for count in range(len(usable), 0, -1):
        sample = _sample(_evenly(usable, count), lengths, most)
        if count <= _SMALLEST_SAMPLE or _padded_tokens(sample, lengths) <= tokens:
            return sample
    return complete


def workload_for(
    items: Sequence[Item], lengths: Sequence[int], flop_per_token: float, wide_values: int
) -> Workload:
    """Lays out the batches of what a model reads: queries, where there are some, by themselves.

    Args:
        items: Documents come before queries.
        lengths: Tokens of each.
        flop_per_token: As of make_workload.
        wide_values: Likewise.
    """
    documents = sum(not isinstance(item, Query) for item in items)
    workload = make_workload(lengths[:documents], flop_per_token, wide_values)
    queries = range(documents, len(items))
    share = workload.texts / documents  # of a sample of the documents, a sample of the queries
    chosen = _evenly(queries, max(_MIXED_BATCH, round(share * len(queries))))
    groups = batches([lengths[i] for i in chosen])
    return replace(
        workload, similar=(*workload.similar, *(tuple(chosen[i] for i in g) for g in groups))
    )


def _sample(chosen: Sequence[int], lengths: Sequence[int], tokens: int) -> Workload:
    # Small batches, since neighbours differ more in length; no long text that comes three times.
    groups = batches([lengths[i] for i in chosen], texts=8, tokens=tokens)
    short = [i for i in chosen if lengths[i] <= _SHORT_TEXT] or chosen[:1]
    return Workload(
        similar=tuple(tuple(chosen[i] for i in group) for group in groups),
        mixed=tuple(_evenly(short, 4)),
    )


def _evenly(items: Sequence[int], count: int) -> list[int]:
    """Returns so many of the items, or all, the first and the last among them."""
    count = min(count, len(items))
    return [items[round(n * (len(items) - 1) / max(1, count - 1))] for n in range(count)]


def _padded_tokens(workload: Workload, lengths: Sequence[int]) -> int:
    return sum(len(group) * max(lengths[i] for i in group) for group in workload.groups)


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
