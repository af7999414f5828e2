"""Running a graph on ONNX Runtime over texts, as a consumer would."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from embconvert.fidelity import Embeddings, FloatArray, cosines
from embconvert.model import OnnxArtifact
from embconvert.runtime import open_session, session_options
from embconvert.texts import batches
from embconvert.tokenization import TokenizedTexts

# So many texts of all lengths are embedded once more in one mixed batch, and alone.
_MIXED_BATCH = 12


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
    def size(self) -> int:
        """Texts to embed, those that come again included."""
        return sum(map(len, self.groups))


def make_workload(lengths: Sequence[int]) -> Workload:
    """Lays out the batches for texts of these many tokens; none may be empty."""
    by_length = sorted(range(len(lengths)), key=lambda i: lengths[i])
    step = max(1, (len(by_length) - 1) // (_MIXED_BATCH - 1))
    return Workload(
        similar=tuple(tuple(group) for group in batches(lengths)),
        mixed=tuple(by_length[::step][:_MIXED_BATCH]),
    )


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
    return Embeddings(
        sentence=_joined([p.sentence for p in parts]),
        token_mean=_joined([p.token_mean for p in parts]),
    )


def _summary(workload: Workload, results: Sequence[tuple[Embeddings, float]]) -> WorkloadRun:
    """Returns the outcome of a workload.

    Args:
        workload: The batches.
        results: For each of its groups the embeddings, and the seconds that they took.
    """
    embeddings = join([part for part, _ in results])
    seconds = sum(duration for _, duration in results[: len(workload.similar)])
    primary = _primary(embeddings)
    texts = sum(map(len, workload.similar))
    row_of = {index: row for row, index in enumerate(i for g in workload.similar for i in g)}
    usual = primary[[row_of[index] for index in workload.mixed]]
    mixed, alone = np.split(primary[texts:], 2)
    return WorkloadRun(
        embeddings=embeddings,
        batch_cosine=min(float(cosines(usual, other).min()) for other in (mixed, alone)),
        texts_per_second=texts / seconds,
    )


def _joined(parts: list[FloatArray | None]) -> FloatArray | None:
    arrays = [part for part in parts if part is not None]
    return np.concatenate(arrays) if len(arrays) == len(parts) else None


def _primary(embeddings: Embeddings) -> FloatArray:
    if embeddings.sentence is not None:
        return embeddings.sentence
    if embeddings.token_mean is not None:
        return embeddings.token_mean
    raise ValueError("the graph has neither token embeddings nor sentence embeddings")


def run_graph(
    artifact: OnnxArtifact,
    texts: TokenizedTexts,
    workload: Workload,
    advance: Callable[[int], None],
) -> WorkloadRun:
    """Embeds a workload with a graph, on the CPU.

    Args:
        artifact: The graph.
        texts: Its input.
        workload: The batches.
        advance: Called with the number of texts done.

    Raises:
        ValueError: The graph doesn't load, doesn't run, or has no known output.
    """
    session = _open_session(artifact)
    inputs = [i.name for i in session.get_inputs()]
    outputs = [o.name for o in session.get_outputs()]

    def run(indices: Sequence[int]) -> Embeddings:
        feed = texts.batch(indices, inputs)
        try:
            values = dict(zip(outputs, session.run(None, feed), strict=True))
        except Exception as error:
            raise ValueError(f"the graph does not run: {error}") from error
        mask = texts.batch(indices, ("attention_mask",))["attention_mask"]
        return _embeddings(values, mask)

    run(workload.similar[-1])  # the first run allocates; it is not timed
    results = []
    for group in workload.groups:
        start = time.perf_counter()
        results.append((run(group), time.perf_counter() - start))
        advance(len(group))
    return _summary(workload, results)


def _open_session(artifact: OnnxArtifact) -> Any:
    try:
        return open_session(artifact.path, session_options())
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(f"ONNX Runtime refuses {artifact.path.name}: {error}") from error


def _embeddings(values: dict[str, Any], mask: Any) -> Embeddings:
    """Recognizes a graph's outputs: by embconvert's names, else by rank."""
    sentence = values.get("sentence_embedding")
    tokens = values.get("last_hidden_state", values.get("token_embeddings"))
    for value in values.values():
        if tokens is None and value.ndim == 3:
            tokens = value
        elif sentence is None and value.ndim == 2 and "last_hidden_state" not in values:
            sentence = value
    token_mean = None
    if tokens is not None:
        weights = mask[:, :, None].astype(np.float32)
        total = (tokens.astype(np.float32) * weights).sum(axis=1)
        token_mean = total / np.maximum(weights.sum(axis=1), 1.0)
    return Embeddings(
        sentence=None if sentence is None else sentence.astype(np.float32), token_mean=token_mean
    )
