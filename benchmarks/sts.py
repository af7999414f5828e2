"""The sentence pairs of the STS benchmark, and their embeddings.

The sentences are read from where they lie: their licence does not let them into this repository.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pipelines import ROOT

from embconvert.fidelity.figures import FloatArray
from embconvert.fidelity.runners import Session
from embconvert.fidelity.tokenization import TokenizedTexts

#: Where the files are unless an option names another folder.
FOLDER = ROOT.parent / "shared" / "data" / "sts"


@dataclass(frozen=True)
class Pairs:
    """Sentence pairs with the score that people gave them."""

    first: list[str]
    second: list[str]
    scores: npt.NDArray[np.float64]

    @property
    def distinct(self) -> list[str]:
        """Each sentence once: a repeated one would be its own nearest neighbour."""
        return list(dict.fromkeys([*self.first, *self.second]))


def read_pairs(folder: Path, language: str, most: int) -> Pairs:
    """Returns at most so many pairs of the dev split, spread over all of it."""
    with (folder / f"stsb-{language}-dev.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.reader(stream) if _is_number(row[2])]
    step = max(1, len(rows) // most)
    rows = rows[::step][:most]
    return Pairs([r[0] for r in rows], [r[1] for r in rows], np.array([float(r[2]) for r in rows]))


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()


def embed(session: Session, tokens: TokenizedTexts, groups: Sequence[Sequence[int]]) -> FloatArray:
    """Returns the embeddings of the groups' texts, by text."""
    names = list(dict.fromkeys([*session.inputs, "attention_mask"]))

    def run(group: Sequence[int]) -> FloatArray:
        feed = tokens.batch(group, names)
        outputs = session.run({name: feed[name] for name in session.inputs})
        if "sentence_embedding" in outputs:
            pooled: FloatArray = outputs["sentence_embedding"]
            return pooled
        # A peer's graph ends in the tokens; all models here take the mean and normalize it.
        found = next(iter(outputs.values()))
        mask = feed["attention_mask"][..., None]
        mean = (found * mask).sum(axis=1) / mask.sum(axis=1)
        return np.asarray(mean / np.linalg.norm(mean, axis=1, keepdims=True), np.float32)

    rows: dict[int, FloatArray] = {}
    for group in groups:
        rows |= dict(zip(group, run(group), strict=True))
    return np.stack([rows[index] for index in sorted(rows)])
