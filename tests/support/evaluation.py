"""Data to evaluate on, and a model of bags of words that evaluates it without a graph."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from embconvert.evaluation.data import DataForm
from embconvert.evaluation.outputs import CachedOutputs
from embconvert.evaluation.records import (
    DataRecord,
    EvaluatedGraph,
    Evaluation,
    FigureRecord,
)
from embconvert.fidelity.texts import Item, joined
from embconvert.models.choices import Precision

_WIDTH = 64


def beir(
    folder: Path,
    documents: Mapping[str, str],
    queries: Mapping[str, str],
    judgements: Sequence[tuple[str, str, int]],
) -> Path:
    """Writes a folder in BEIR's form."""
    (folder / "qrels").mkdir(parents=True)
    for name, texts in (("corpus", documents), ("queries", queries)):
        lines = [json.dumps({"_id": key, "text": text}) for key, text in texts.items()]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = ["query-id\tcorpus-id\tscore", *(f"{q}\t{d}\t{s}" for q, d, s in judgements)]
    (folder / "qrels" / "test.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


class BagOfWords:
    """Embeds a text as the sum of its words' random vectors; counts what it embeds.

    Args:
        noise: Standard deviation of what is added to each component, as a bad precision would.
    """

    def __init__(self, noise: float = 0.0) -> None:
        self._noise = noise
        self.computed: list[Item] = []

    def rows(self, items: Sequence[Item]) -> Iterator[None]:
        yield from ()
        self.computed += items
        return [self._row(item) for item in items]  # type: ignore[return-value]

    def _row(self, item: Item) -> bytes:
        text = joined(item)
        if isinstance(text, tuple):
            shared = set(text[0].split()) & set(text[1].split())
            return np.array([len(shared)], np.float32).tobytes()
        vector = np.zeros(_WIDTH)
        for word in text.split():
            seed = int.from_bytes(word.encode(), "big") % 2**32
            vector += np.random.default_rng(seed).normal(size=_WIDTH)
        noise = np.random.default_rng(len(text)).normal(size=_WIDTH) * self._noise
        return (vector + noise).astype(np.float32).tobytes()


def outputs(noise: float = 0.0) -> CachedOutputs:
    return CachedOutputs(BagOfWords(noise), None)  # type: ignore[arg-type]


def evaluation(*digests: str, digest: str = "a" * 64, loss: float = 0.8) -> Evaluation:
    """Returns an evaluation of graphs with these hashes, the first of which is the baseline."""
    return Evaluation(
        model_id="org/model",
        revision=None,
        data=DataRecord(
            name="my data", form=DataForm.RETRIEVAL, digest=digest, queries=300, documents=1000
        ),
        baseline="onnx/graph0.onnx",
        similarity="cosine",
        graphs=tuple(
            EvaluatedGraph(
                path=f"onnx/graph{number}.onnx",
                precision=Precision.FLOAT32 if number == 0 else Precision.QINT8,
                size_bytes=1000,
                digests=(sha256,),
                figures=(
                    FigureRecord(
                        name="nDCG@10",
                        value=0.75 - number * loss / 100,
                        loss=number * loss,
                        low=number * loss / 2,
                        high=number * loss * 2,
                        verdict="the same" if number == 0 else f"{loss} points lower",
                    ),
                ),
            )
            for number, sha256 in enumerate(digests)
        ),
    )
