"""Measures how much larger a graph's values become on more texts than Float16 looks at.

    PYTHONPATH=. python benchmarks/growth.py FOLDER [--sts FOLDER] [--texts 10000]

`make bench-growth` converts models and runs it on each folder. The texts are the sentences of the
STS benchmark in English and German, then their pairs, which are longer. Prints, for the fewest and
the most tokens that Float16 looks at and for all calibration texts, the largest growth of any value
and how many values grew by more than 2, 4 and 8 times. `MARGIN` in
embconvert/quantize/half_nodes.py must exceed the growth with room.
"""

import argparse
import csv
import tempfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import sts
from machine import installed, machine
from pipelines import OUR_BIN

from embconvert.fidelity.texts import batches, calibration_items, calibration_texts
from embconvert.fidelity.tokenization import TokenizedTexts, tokenize
from embconvert.models.kinds import KINDS
from embconvert.models.recipes import QuantizeOptions
from embconvert.quantize.observed import SIZE_TOKENS, Sizes, value_sizes
from embconvert.quantize.settings import QuantizeSettings
from embconvert.quantize.surgery import Surgery

_LONGEST = 256
#: What a model of billions of weights looks at.
_FEWEST_TOKENS = 256
#: Smaller values are far from the end of half precision's range, however much they grow.
_SMALL = 1.0


def main() -> None:
    """Prints the growth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a converted model")
    parser.add_argument("--sts", type=Path, default=sts.FOLDER, help="folder of the STS benchmark")
    parser.add_argument("--texts", type=int, default=10_000, help="at most so many")
    given = parser.parse_args()
    graph = given.folder / "onnx/model_opt1.onnx"
    reading = next(iter(KINDS.values())).reading
    calibration = calibration_items(calibration_texts(None), reading)
    others = list(_texts(sorted(given.sts.glob("*.csv"))))[: given.texts]
    seen = tokenize(given.folder, calibration, most=_LONGEST, rules=None)
    unseen = tokenize(given.folder, others, most=_LONGEST, rules=None)
    everything = _sizes(graph, unseen, 1 << 40)
    print(f"{machine()}\n{installed(OUR_BIN)}\n{given.folder.name}: {len(others)} texts")
    for tokens in (_FEWEST_TOKENS, SIZE_TOKENS, 1 << 40):
        known = _sizes(graph, seen, tokens)
        growth = {n: everything.peaks[n] / peak for n, peak in known.peaks.items() if peak > _SMALL}
        worst = max(growth, key=lambda name: growth[name])
        counts = ", ".join(f"{sum(g > n for g in growth.values())} over {n}" for n in (2, 4, 8))
        looked = "all calibration texts" if tokens > SIZE_TOKENS else f"{tokens} tokens"
        print(f"{looked}: largest growth {growth[worst]:.2f} ({worst}), of {len(growth)}: {counts}")


def _texts(files: Sequence[Path]) -> Iterator[str]:
    """Yields the sentences of all files, then their pairs, which are longer."""
    rows = [row for file in files for row in csv.reader(file.open(encoding="utf-8"))]
    yield from (sentence for row in rows for sentence in row[:2])
    yield from (f"{row[0]} {row[1]}" for row in rows)
    yield from (f"{a[0]} {b[1]} {a[1]}" for a, b in pairwise(rows))


def _sizes(graph: Path, texts: TokenizedTexts, most: int) -> Sizes:
    def feeds(inputs: list[str], tokens: int | None = None) -> Iterator[Any]:
        some = texts if tokens is None or tokens > sum(texts.lengths) else texts.sample(tokens)
        for group in batches(some.lengths, texts=16):
            yield some.batch(group, inputs)

    with tempfile.TemporaryDirectory(dir=graph.parent) as work:
        settings = QuantizeSettings(options=QuantizeOptions(), calibration=feeds, work=Path(work))
        return value_sizes(Surgery(graph), settings, lambda _: most)


if __name__ == "__main__":
    main()
