"""What the quality of a file is: cosines, kept neighbours, Spearman, nDCG, and speed."""

import hashlib
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import sts
from quality_files import File
from retrieval import Retrieval, mean_gain

from embconvert.fidelity.figures import FloatArray, cosines
from embconvert.fidelity.kinds.embedding import pairwise_cosines
from embconvert.fidelity.ranking import kept_neighbours, spearman
from embconvert.fidelity.runners import Session
from embconvert.fidelity.texts import batches
from embconvert.fidelity.tokenization import TokenizedTexts, tokenize
from embconvert.graph.openvino_ir import IR_SUFFIX, IrSession
from embconvert.graph.runtime import OnnxSession, open_session, session_options

#: Texts and turns of the measurement of speed.
_TIMED, _TURNS = 64, 3
_LONGEST = 256


@dataclass(frozen=True)
class Texts:
    """The texts of a comparison.

    Attributes:
        sets: By name; kept neighbours are among those of one set.
        pairs: By the name of a set; people's scores of its sentences.
        retrieval: Its texts are the set "retrieval".
    """

    sets: Mapping[str, list[str]]
    pairs: Mapping[str, sts.Pairs]
    retrieval: Retrieval | None = None

    @cached_property
    def distinct(self) -> list[str]:
        """Each text of all sets once."""
        return list(dict.fromkeys(text for some in self.sets.values() for text in some))

    def rows(self, found: FloatArray, texts: Sequence[str]) -> FloatArray:
        """Returns the rows of some texts of those of all distinct ones."""
        return found[[self._places[text] for text in texts]]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {text: place for place, text in enumerate(self.distinct)}


class Measuring:
    """Measures files in terms of the first one, keeping embeddings for a run that goes on."""

    def __init__(self, folder: Path, texts: Texts, kept: Path) -> None:
        self.texts = texts
        self._kept = kept
        self._kept.mkdir(parents=True, exist_ok=True)
        self._tokens = tokenize(folder, texts.distinct, most=_LONGEST)
        self._reference: FloatArray | None = None

    def header(self) -> list[str]:
        """Returns the names of the figures of cells()."""
        return [
            "mean cosine", "p1", "lowest", "alone and in a batch",
            *(f"kept: {name}" for name in self.texts.sets),
            *(f"Spearman, {name}" for name in self.texts.pairs),
            *(["nDCG@10"] if self.texts.retrieval else []),
        ]  # fmt: skip

    def cells(self, file: File) -> list[str]:
        texts = self.texts
        found, alone = self._embeddings(file)
        reference = self._reference = found if self._reference is None else self._reference
        near = cosines(found, reference)
        cells = [f"{v:.5f}" for v in (near.mean(), np.percentile(near, 1), near.min())]
        cells.append(f"{cosines(alone, found[self._some]).min():.5f}")
        for some in texts.sets.values():
            before, after = (
                pairwise_cosines(texts.rows(rows, some)) for rows in (reference, found)
            )
            neighbours = kept_neighbours(before, after, range(len(some)))
            assert neighbours is not None
            cells.append(f"{neighbours.kept:.1%}")
        for pairs in texts.pairs.values():
            first, second = (texts.rows(found, some) for some in (pairs.first, pairs.second))
            cells.append(f"{100 * spearman(cosines(first, second), pairs.scores):.2f}")
        if texts.retrieval:
            gain = mean_gain(texts.retrieval, texts.rows(found, texts.retrieval.texts))
            cells.append(f"{100 * gain:.2f}")
        return cells

    def squared_error(self, file: File) -> float:
        """Returns the mean squared distance to the first file's embeddings, times 10,000."""
        found, _ = self._embeddings(file)
        reference = self._reference = found if self._reference is None else self._reference
        return 1e4 * float(np.square(found - reference).sum(axis=1).mean())

    @cached_property
    def _some(self) -> list[int]:
        count = len(self._tokens.lengths)
        return list(range(0, count, max(1, count // _TIMED)))[:_TIMED]

    def _embeddings(self, file: File) -> tuple[FloatArray, FloatArray]:
        """Returns those of all texts, in batches, and of some alone; computed once."""
        asked = hashlib.sha256("\0".join([file.digest(), *self.texts.distinct]).encode())
        kept = self._kept / f"{asked.hexdigest()}.npz"
        if not kept.exists():
            session = _open(file.path)
            found = sts.embed(session, self._tokens, batches(self._tokens.lengths))
            alone = sts.embed(session, self._tokens, [[index] for index in self._some])
            part = kept.with_suffix(".part.npz")
            np.savez(part, found=found, alone=alone)
            part.rename(kept)
        with np.load(kept) as arrays:
            return arrays["found"], arrays["alone"]

    def speeds(self, files: Sequence[File]) -> Iterator[list[str]]:
        """Yields the processor time of each file on one thread, all by turns.

        Other work on the machine then counts little. A turn is a run that is not counted and one
        that is; the median of the turns is reported.
        """
        sessions = [_open(file.path, threads=1) for file in files]
        some = self._some
        ways = ([[index] for index in some], [some[i : i + 32] for i in range(0, len(some), 32)])
        turns = [
            [[_seconds(session, self._tokens, way) for way in ways] for session in sessions]
            for _ in range(_TURNS)
        ]
        for of_file in zip(*turns, strict=True):
            alone, together = (statistics.median(way) for way in zip(*of_file, strict=True))
            yield [f"{1000 * alone / len(some):.2f}", f"{len(some) / together:.0f}"]


def _open(path: Path, threads: int | None = None) -> Session:
    if path.suffix == IR_SUFFIX:
        return IrSession(path, threads)
    options = session_options()
    if threads is not None:
        options.intra_op_num_threads = threads
    return OnnxSession(open_session(path, options))


def _seconds(session: Session, tokens: TokenizedTexts, groups: Sequence[Sequence[int]]) -> float:
    sts.embed(session, tokens, groups[:1])
    start = time.process_time()
    sts.embed(session, tokens, groups)
    return time.process_time() - start
