"""The retrieval set of benchmarks/data, and what a model finds in it."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embconvert.evaluation.beir import read_beir
from embconvert.evaluation.data import Dataset
from embconvert.evaluation.figures import retrieval_figures
from embconvert.evaluation.ranking import DEPTH, Ranking
from embconvert.fidelity.figures import FloatArray

FOLDER = Path(__file__).parent / "data" / "retrieval"


@dataclass(frozen=True)
class Retrieval:
    """The set, with all documents, then all queries, as texts."""

    data: Dataset
    texts: list[str]


def read_retrieval(folder: Path = FOLDER) -> Retrieval:
    """Reads a folder in BEIR's form."""
    with tempfile.TemporaryDirectory() as scratch:
        data = read_beir(folder, Path(scratch))
        return Retrieval(data, [*data.documents, *data.queries])


def mean_gain(retrieval: Retrieval, found: FloatArray) -> float:
    """Returns the mean nDCG@10 of L2-normalized embeddings, as `embconvert evaluate` does."""
    count = len(retrieval.texts) - len(retrieval.data.relevance)
    scores = found[count:] @ found[:count].T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
    ranking = Ranking(documents=order, scores=np.take_along_axis(scores, order, axis=1))
    return retrieval_figures(ranking, retrieval.data.relevance)[0].value
