"""How much of its quality a model keeps in each precision; `make bench-quality` runs it.

    PYTHONPATH=. python benchmarks/quality.py [PART...] [--trained FOLDER...]

A part is a model: a trained one, or one of random weights with planted outlier channels, of which
only cosines and neighbours mean something. Each is converted to every precision, with its default
recipes and without any, and quantized as other tools do it, in environments of their own: ONNX
Runtime's `quantize_dynamic`, transformers.js' settings of it, optimum-onnx's presets,
sentence-transformers' function, and OpenVINO's int8. Each file embeds the built-in texts, the
sentences of the STS benchmark and our retrieval set. The part `recipes` is the first trained model
with one set of recipes after the other, and `Q8` is what its Q8 could be instead.

Each part's tables replace those between its marks in docs/quality.md. All files and embeddings stay
in build/quality, so that a run that was interrupted goes on. It reports and judges nothing.
"""

import argparse
import hashlib
import os
import re
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import outliers
import sts
from machine import installed, machine
from pipelines import MODEL, OUR_BIN, PEER_BIN, ROOT
from quality_blocks import FORMS, write_form
from quality_figures import Measuring, Texts
from quality_files import (
    OPENVINO_BIN,
    PRECISIONS,
    File,
    convert,
    convert_recipes,
    peers,
    with_recipes,
)
from retrieval import read_retrieval

from embconvert.fidelity.ranking import spearman
from embconvert.fidelity.texts import verification_texts
from embconvert.models.choices import Precision

PAGE = ROOT / "docs" / "quality.md"
_WORK = ROOT / "build" / "quality"
#: The parts that compare recipes, and other forms of Q8.
RECIPES, BLOCKS = "recipes", "Q8"
#: Pairs of each language; all in the one that every model here knows.
_PAIRS = {"en": 10_000, "de": 200}
#: Pairs of a model of random weights, and of the many files of the part of recipes.
_PLANTED_PAIRS, _RECIPE_PAIRS = 200, 500
#: Of fewer files, a rank correlation says nothing.
_FEWEST_RANKED = 5


def main() -> None:
    """Measures the parts and writes them to the page."""
    options = _options()
    trained = {folder.name: folder for folder in options.trained}
    parts = options.parts or [*trained, RECIPES, BLOCKS, *outliers.SHAPES]
    for name in parts:  # before hours of measuring
        with_part(PAGE.read_text(encoding="utf-8"), name, "")
    for name in parts:
        if name == RECIPES:
            lines = _recipes(options.trained[0], _english_texts(options.sts, _RECIPE_PAIRS))
        elif name == BLOCKS:
            lines = _blocks(options.trained[0], _english_texts(options.sts, _PAIRS["en"]))
        elif name in trained:
            lines = _part(name, trained[name], _texts(options.sts), options)
        else:
            few = _english_texts(options.sts, _PLANTED_PAIRS)
            lines = _part(name, outliers.source_folder(name), few, options)
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
    parser.add_argument(
        "--ours", action="store_true", help="of models only embconvert's files by default recipes"
    )
    parser.add_argument(
        "--precisions", type=_precisions, default=PRECISIONS, help="of models, by commas"
    )
    parser.add_argument("--sts", type=Path, default=sts.FOLDER, help="folder of the STS benchmark")
    return parser.parse_args()


def _precisions(words: str) -> list[Precision]:
    return [Precision(word) for word in words.split(",")]


def _texts(folder: Path) -> Texts:
    pairs = {name: sts.read_pairs(folder, name, most) for name, most in _PAIRS.items()}
    retrieval = read_retrieval()
    sets = {"built-in": [text for text in verification_texts().texts if text.strip()]}
    sets |= {name: some.distinct for name, some in pairs.items()}
    return Texts({**sets, "retrieval": retrieval.texts}, pairs, retrieval)


def _english_texts(folder: Path, most: int) -> Texts:
    return Texts({"en": sts.read_pairs(folder, "en", most).distinct}, {})


def _part(name: str, source: Path, texts: Texts, options: argparse.Namespace) -> Iterator[str]:
    """Yields the lines of a model's tables."""
    start, work, ours = time.monotonic(), _WORK / name, options.ours
    folder, files = convert(source, work, options.precisions, plain=not ours)
    others, notes = ([], []) if ours else peers(source, folder, work)
    measuring = Measuring(folder, texts, work / "embeddings")
    cells: dict[File, list[str]] = {}
    for file in [*files, *others]:
        try:
            cells[file] = measuring.cells(file)
        except Exception as error:
            if file in files:
                raise
            notes.append(f"{file.label} does not run: {str(error).splitlines()[0][:160]}")
    yield from _tables(name, measuring, cells)
    yield from _agreement(_header(measuring), [cells[file] for file in files[1:]])
    for note in notes:
        yield f"\n{note}"
    sides = ("embconvert",) if ours else ("embconvert", "other tools", "OpenVINO")
    words = ["OURS=1"] * ours
    if options.precisions != PRECISIONS:
        words.append(f"PRECISIONS={','.join(options.precisions)}")
    yield f"\n{_setting(name, source, start, sides, *words)}"


def _recipes(source: Path, texts: Texts) -> Iterator[str]:
    """Yields the lines of the table of recipes."""
    start, work = time.monotonic(), _WORK / RECIPES / source.name
    folder, files = convert_recipes(source, work)
    measuring = Measuring(folder, texts, work / "embeddings")
    cells = {file: measuring.cells(file) for file in files}
    yield from _tables(source.name, measuring, cells)
    yield f"\n{_setting(RECIPES, source, start, ('embconvert',))}"


def _blocks(source: Path, texts: Texts) -> Iterator[str]:
    """Yields the lines of the table of other forms of Q8."""
    start, kept = time.monotonic(), _WORK / RECIPES / source.name
    work = _WORK / BLOCKS / source.name
    work.mkdir(parents=True, exist_ok=True)
    files = []
    for form in FORMS:
        made = work / f"{hashlib.sha256(repr(form).encode()).hexdigest()[:16]}.onnx"
        published = with_recipes(source, kept, Precision.Q8, form.recipes)
        if not made.exists():
            write_form(kept / source.name / "onnx/model_opt1.onnx", published, form, made)
        files.append(File(form.label, made))
    folder = kept / source.name
    files.insert(0, File("float32", folder / "onnx/model.onnx"))
    measuring = Measuring(folder, texts, work / "embeddings")
    header = ["`Q8`", "MB", "squared error", "kept: en", "ms, batch 1", "texts/s, batch 32"]
    yield f"{source.name}; texts: {len(texts.sets['en'])} en"
    yield ""
    figures = []
    for file in files:
        error = measuring.squared_error(file)
        share = measuring.cells(file)[measuring.header().index("kept: en")]
        figures.append([file.label, f"{file.size / 1e6:.1f}", f"{error:.2f}", share])
    speeds = measuring.speeds(files)
    yield from _table(header, [[*row, *s] for row, s in zip(figures, speeds, strict=True)])
    yield f"\n{_setting(BLOCKS, source, start, ('embconvert',))}"


def _tables(name: str, measuring: Measuring, cells: Mapping[File, list[str]]) -> Iterator[str]:
    sets = measuring.texts.sets.items()
    yield f"{name}; texts: {', '.join(f'{len(some)} {kind}' for kind, some in sets)}"
    yield ""
    yield from _table(
        _header(measuring),
        [
            [file.label, f"{file.size / 1e6:.1f}", *row, *speed]
            for (file, row), speed in zip(cells.items(), measuring.speeds(list(cells)), strict=True)
        ],
    )


def _header(measuring: Measuring) -> list[str]:
    return ["file", "MB", *measuring.header(), "ms, batch 1", "texts/s, batch 32"]


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
    if others and len(rows) >= _FEWEST_RANKED:
        found = ", ".join(f"{spearman(kept[first], kept[o]):.3f} ({o[6:]})" for o in others)
        yield f"\nHow {first[6:]} kept neighbours rank our files, and others: {found}."


def _setting(name: str, source: Path, start: float, sides: Sequence[str], *words: str) -> str:
    """Returns the command of a part, and what it ran with and on."""
    found = machine()
    binaries = {"embconvert": OUR_BIN, "other tools": PEER_BIN, "OpenVINO": OPENVINO_BIN}
    versions = {
        side: ", ".join(f"{package} {v}" for package, v in installed(binaries[side]).items())
        for side in sides
    }
    command = ["make", "bench-quality", f"PART={name}", *words]
    if source.name != MODEL.name and name not in outliers.SHAPES:
        command.append(f"TRAINED=FOLDER/{source.name}")
    minutes = (time.monotonic() - start) / 60
    return (
        f"`{shlex.join(command)}`, {time.strftime('%-d %B %Y')}, {minutes:.0f} minutes "
        f"at a load of {os.getloadavg()[0]:.1f}; {found['cores']} cores of an {found['cpu']}, "
        f"{found['kernel']}. "
        + ". ".join(f"{side}: {text}" for side, text in versions.items())
        + "."
    )


if __name__ == "__main__":
    main()
