"""How much of its quality a model keeps in each precision; `make bench-quality` runs it.

    PYTHONPATH=. python benchmarks/quality.py [PART...] [--trained FOLDER...]

A part is a model: a trained one, or one of random weights with planted outlier channels, of which
only cosines and neighbours mean something. Each is converted to every precision, with its default
recipes and without any, and quantized as other tools do it, in environments of their own: ONNX
Runtime's `quantize_dynamic`, transformers.js' settings of it, optimum-onnx's presets,
sentence-transformers' function, and OpenVINO's int8. Each file embeds the built-in texts, the
sentences of the STS benchmark and our retrieval set.

Each part's tables replace those between its marks in docs/quality.md. All files and embeddings stay
in build/quality, so that a run that was interrupted goes on. It reports and judges nothing.
"""

import argparse
import os
import re
import shlex
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import outliers
import sts
from machine import installed, machine
from pipelines import MODEL, OUR_BIN, PEER_BIN, ROOT
from quality_figures import Measuring, Texts
from quality_files import OPENVINO_BIN, File, convert, peers
from retrieval import read_retrieval

from embconvert.fidelity.ranking import spearman
from embconvert.fidelity.texts import verification_texts

PAGE = ROOT / "docs" / "quality.md"
_WORK = ROOT / "build" / "quality"
#: Pairs of each language; all in the one that every model here knows.
_PAIRS = {"en": 10_000, "de": 200}
#: Pairs of a model of random weights, where no correlation is measured.
_PLANTED_PAIRS = 200


def main() -> None:
    """Measures the parts and writes them to the page."""
    options = _options()
    trained = {folder.name: folder for folder in options.trained}
    parts = options.parts or [*trained, *outliers.SHAPES]
    for name in parts:  # before hours of measuring
        with_part(PAGE.read_text(encoding="utf-8"), name, "")
    for name in parts:
        if name in trained:
            lines = _part(name, trained[name], _texts(options.sts))
        else:
            lines = _part(name, outliers.source_folder(name), _planted_texts(options.sts))
        text = "\n".join(lines)
        print(text, flush=True)
        PAGE.write_text(with_part(PAGE.read_text(encoding="utf-8"), name, text), encoding="utf-8")


def with_part(page: str, name: str, text: str) -> str:
    """Returns the page with other text between a part's marks.

    Raises:
        ValueError: The page has no such marks.
    """
    start, end = f"<!-- measured: {name} -->\n", f"<!-- end: {name} -->"
    found = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
    if not found.search(page):
        raise ValueError(f"the page has no place for {name}: {start.strip()} and {end}")
    return found.sub(lambda _: f"{start}\n{text}\n\n{end}", page)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help="names of models; all unless given")
    parser.add_argument("--trained", type=Path, nargs="+", default=[MODEL], help="folders")
    parser.add_argument("--sts", type=Path, default=sts.FOLDER, help="folder of the STS benchmark")
    return parser.parse_args()


def _texts(folder: Path) -> Texts:
    pairs = {name: sts.read_pairs(folder, name, most) for name, most in _PAIRS.items()}
    retrieval = read_retrieval()
    sets = {"built-in": [text for text in verification_texts().texts if text.strip()]}
    sets |= {name: some.distinct for name, some in pairs.items()}
    return Texts({**sets, "retrieval": retrieval.texts}, pairs, retrieval)


def _planted_texts(folder: Path) -> Texts:
    return Texts({"en": sts.read_pairs(folder, "en", _PLANTED_PAIRS).distinct}, {})


def _part(name: str, source: Path, texts: Texts) -> Iterator[str]:
    """Yields the lines of a model's tables."""
    start, work = time.monotonic(), _WORK / name
    folder, ours = convert(source, work)
    others, notes = peers(source, folder, work)
    measuring = Measuring(folder, texts, work / "embeddings")
    cells: dict[File, list[str]] = {}
    for file in [*ours, *others]:
        try:
            cells[file] = measuring.cells(file)
        except Exception as error:
            if file in ours:
                raise
            notes.append(f"{file.label} does not run: {str(error).splitlines()[0][:160]}")
    speeds = measuring.speeds(list(cells))
    header = ["file", "MB", *measuring.header(), "ms, batch 1", "texts/s, batch 32"]
    yield f"{name}; texts: {', '.join(f'{len(some)} {kind}' for kind, some in texts.sets.items())}"
    yield ""
    yield from _table(
        header,
        [
            [file.label, f"{file.size / 1e6:.1f}", *row, *speed]
            for (file, row), speed in zip(cells.items(), speeds, strict=True)
        ],
    )
    yield from _agreement(header, [cells[file] for file in ours[1:]])
    for note in notes:
        yield f"\n{note}"
    yield f"\n{_setting(name, start)}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|---|{'---:|' * (len(header) - 1)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _agreement(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yields whether kept neighbours rank our files alike, whatever the texts."""
    kept = {
        name: np.array([float(row[place].rstrip("%")) for row in rows])
        for place, name in enumerate(header[2:])
        if name.startswith("kept: ")
    }
    first, *others = kept
    if others:
        found = ", ".join(f"{spearman(kept[first], kept[o]):.3f} ({o[6:]})" for o in others)
        yield f"\nHow {first[6:]} kept neighbours rank our files, and others: {found}."


def _setting(name: str, start: float) -> str:
    found = machine()
    versions = {
        side: ", ".join(f"{package} {v}" for package, v in installed(binaries).items())
        for side, binaries in (
            ("embconvert", OUR_BIN), ("other tools", PEER_BIN), ("OpenVINO", OPENVINO_BIN),
        )
    }  # fmt: skip
    command = shlex.join(["make", "bench-quality", f"PART={name}"])
    minutes = (time.monotonic() - start) / 60
    return (
        f"`{command}`, {minutes:.0f} minutes at a load of {os.getloadavg()[0]:.1f}; "
        f"{found['cores']} cores of an {found['cpu']}, {found['kernel']}. "
        + ". ".join(f"{side}: {text}" for side, text in versions.items())
        + "."
    )


if __name__ == "__main__":
    main()
