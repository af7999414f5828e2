"""How much of its quality a model keeps in each precision; `make bench-quality` runs it.

Converts a model to every precision, quantizes its graph also as the peers do (ONNX Runtime's own
`quantize_dynamic`, optimum-onnx's presets and sentence-transformers' own function, in an
environment of theirs), and embeds the sentences of the STS benchmark (English and German, dev
split) with each file. So it does with models of random weights and planted outlier channels, whose
correlation with people's scores means nothing, and is left out. It reports and judges nothing.

Speed is measured apart, all files by turns, on one thread and by its processor time: other work on
the machine then counts little. A turn is a run that is not counted and one that is; the median of
the turns is reported.

The sentences are read from where they lie: their licence does not let them into this repository.
"""

import argparse
import csv
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import outliers
from machine import machine, versions
from pipelines import MODEL, OUR_BIN, PEER_BIN, ROOT

from embconvert.fidelity.figures import FloatArray, cosines, spearman
from embconvert.fidelity.texts import batches
from embconvert.fidelity.tokenization import TokenizedTexts, tokenize
from embconvert.graph.runtime import open_session, session_options

_PRECISIONS = "Q4,Q8,QInt8,QUInt8,QInt8Static,QFLOAT8E4M3FN,Float16"
_RESAMPLES = 1000
_NEIGHBOURS = 10
#: Pairs of a model of random weights, where no correlation is measured.
_PLANTED_PAIRS = 60
#: Texts and turns of the measurement of speed.
_TIMED, _TURNS = 64, 3
_HEADER = (
    "file", "size", "Spearman x100 (95%)", "mean cosine", "p1", "min", "top-10", "batch",
    "ms, batch 1", "texts/s, batch 32",
)  # fmt: skip


@dataclass(frozen=True)
class Pairs:
    """Sentence pairs with the score that people gave them."""

    first: list[str]
    second: list[str]
    scores: npt.NDArray[np.float64]


def main() -> int:
    """Measures and prints tables in Markdown."""
    options = _options()
    print(f"{machine()}\n{versions()}\n")
    for name in options.models.split(","):
        trained = name == MODEL.name
        source = MODEL if trained else outliers.source_folder(name)
        with tempfile.TemporaryDirectory(prefix="quality-", dir=ROOT / "build") as work:
            folder = options.folder or _convert(source, Path(work))
            failures = _peers(source, folder, Path(work))
            peers, same = _distinct(sorted(Path(work).glob("*.onnx")))
            ours = sorted((folder / "onnx").glob("*.onnx"), key=lambda p: (len(p.name), p))
            languages = ("en", "de") if trained else ("en",)
            for language in languages:
                most = options.pairs if trained else min(options.pairs, _PLANTED_PAIRS)
                sts = _read(options.sts / f"stsb-{language}-dev.csv", most)
                title = f"{name}, STS-B dev, {language}, {len(sts.scores)} pairs"
                _table(title, folder, [*ours, *peers], sts, trained=trained)
            for file, other in same.items():
                print(f"\n{file} has the bytes of {other}", flush=True)
            for file, reason in failures.items():
                print(f"\n{file} failed: {reason}", flush=True)
    print(f"\nload at the end: {os.getloadavg()[0]:.1f}")
    return 0


def _table(title: str, folder: Path, files: Sequence[Path], sts: Pairs, *, trained: bool) -> None:
    """Measures files and prints a row for each; the first is what the others are compared with."""
    print(f"\n{title}\n")
    print(f"| {' | '.join(_HEADER)} |\n|---|{'---:|' * (len(_HEADER) - 1)}", flush=True)
    tokens = tokenize(folder, [*sts.first, *sts.second], max_length=256)
    reference: FloatArray | None = None
    rows: dict[Path, list[str]] = {}
    for file in files:
        try:
            session = open_session(file, session_options())
            found = _embed(session, tokens, batches(tokens.lengths))
        except Exception as error:  # noqa: BLE001 - a peer's file may not run
            print(f"| {file.name} | {_size(file)} | {str(error).splitlines()[0][:100]} |")
            continue
        reference = found if reference is None else reference
        rows[file] = _figures(session, tokens, found, reference, sts)
        if not trained:
            rows[file][0] = "-"
        del session
    for file, speed in _speeds(list(rows), tokens).items():
        print(f"| {' | '.join([file.name, _size(file), *rows[file], *speed])} |", flush=True)


def _size(file: Path) -> str:
    return f"{file.stat().st_size / 1e6:.1f} MB"


def _speeds(files: Sequence[Path], tokens: TokenizedTexts) -> dict[Path, list[str]]:
    """Returns the last two cells of each file."""
    options = session_options()
    options.intra_op_num_threads = 1
    sessions = {file: open_session(file, options) for file in files}
    some = list(range(0, len(tokens.lengths), max(1, len(tokens.lengths) // _TIMED)))[:_TIMED]
    ways = ([[index] for index in some], [some[i : i + 32] for i in range(0, len(some), 32)])
    seconds: dict[tuple[Path, int], list[float]] = {}
    for _ in range(_TURNS):
        for file, session in sessions.items():
            for way, groups in enumerate(ways):
                _embed(session, tokens, groups[:1])
                start = time.process_time()
                _embed(session, tokens, groups)
                seconds.setdefault((file, way), []).append(time.process_time() - start)
    alone, together = (
        {file: statistics.median(seconds[file, way]) for file in files} for way in range(2)
    )
    return {
        file: [f"{1000 * alone[file] / len(some):.2f}", f"{len(some) / together[file]:.0f}"]
        for file in files
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    data = ROOT.parent / "shared" / "data" / "sts"
    parser.add_argument("--sts", type=Path, default=data, help="folder with the STS benchmark")
    parser.add_argument("--folder", type=Path, help="a converted model; else MiniLM is converted")
    parser.add_argument(
        "--models",
        default=",".join([MODEL.name, *outliers.SHAPES]),
        help="with commas between them",
    )
    parser.add_argument("--pairs", type=int, default=10_000, help="at most so many of a language")
    return parser.parse_args()


def _read(path: Path, most: int) -> Pairs:
    with path.open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.reader(stream) if _is_number(row[2])]
    step = max(1, len(rows) // most)
    rows = rows[::step][:most]
    return Pairs([r[0] for r in rows], [r[1] for r in rows], np.array([float(r[2]) for r in rows]))


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()


def _convert(source: Path, work: Path) -> Path:
    command = [
        str(OUR_BIN / "embconvert"), "all", "--model_id", str(source), "--output_parent_dir",
        str(work), "--quantize", _PRECISIONS, "--skip_validation", "--quiet",
    ]  # fmt: skip
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Path(done.stdout.strip())


def _peers(source: Path, folder: Path, work: Path) -> dict[str, str]:
    """Writes the peers' files; returns what failed, with the reason."""
    here, python = Path(__file__).parent, str(PEER_BIN / "python")
    fused, naive = folder / "onnx" / "model_opt1.onnx", work / "quantize_dynamic.onnx"
    failures: dict[str, str] = {}
    dynamic = [python, str(here / "peer_quantize.py"), str(fused), str(naive)]
    presets = [python, str(here / "peer_int8.py"), str(source)]
    presets += [str(folder / "onnx" / "model.onnx"), str(work)]
    done = subprocess.run(dynamic, check=False, capture_output=True, text=True)
    if done.returncode:
        failures[naive.name] = done.stderr.strip().splitlines()[-1][:160]
    done = subprocess.run(presets, check=True, capture_output=True, text=True)
    found: dict[str, str] = json.loads(done.stdout)
    return failures | found


def _distinct(files: Sequence[Path]) -> tuple[list[Path], dict[str, str]]:
    """Returns the files of different contents, and for each other one which of them it equals."""
    first: dict[str, Path] = {}
    same: dict[str, str] = {}
    for file in files:
        known = first.setdefault(hashlib.sha256(file.read_bytes()).hexdigest(), file)
        if known is not file:
            same[file.name] = known.name
    return list(first.values()), same


def _embed(session: Any, tokens: TokenizedTexts, groups: Sequence[Sequence[int]]) -> FloatArray:
    """Returns the embeddings of the groups' texts, by text."""
    names = [i.name for i in session.get_inputs()]
    pooled = "sentence_embedding" in [o.name for o in session.get_outputs()]
    output = "sentence_embedding" if pooled else session.get_outputs()[0].name

    def embed(group: Sequence[int]) -> FloatArray:
        feed = tokens.batch(group, list(dict.fromkeys([*names, "attention_mask"])))
        found: FloatArray = session.run([output], {n: feed[n] for n in names})[0]
        if pooled:
            return found
        # A peer's graph ends in the tokens; all models here take the mean and normalize it.
        mask = feed["attention_mask"][..., None]
        mean = (found * mask).sum(axis=1) / mask.sum(axis=1)
        return np.asarray(mean / np.linalg.norm(mean, axis=1, keepdims=True), np.float32)

    rows: dict[int, FloatArray] = {}
    for group in groups:
        rows |= dict(zip(group, embed(group), strict=True))
    return np.stack([rows[index] for index in sorted(rows)])


def _figures(
    session: Any, tokens: TokenizedTexts, found: FloatArray, reference: FloatArray, sts: Pairs
) -> list[str]:
    """Returns the cells between the size and the speed."""
    count = len(sts.scores)
    similarity = cosines(found[:count], found[count:])
    random = np.random.default_rng(0)
    draws = [random.integers(0, count, count) for _ in range(_RESAMPLES)]
    low, high = np.percentile(
        [100 * spearman(similarity[d], sts.scores[d]) for d in draws], [2.5, 97.5]
    )
    near = cosines(found, reference)
    some = list(range(0, len(found), max(1, len(found) // 50)))
    alone = _embed(session, tokens, [[index] for index in some])
    together = cosines(alone, found[some])
    return [
        f"{100 * spearman(similarity, sts.scores):.2f} ({low:.2f}-{high:.2f})",
        f"{near.mean():.5f}", f"{np.percentile(near, 1):.5f}", f"{near.min():.5f}",
        f"{_neighbour_overlap(found, reference):.3f}", f"{together.min():.5f}",
    ]  # fmt: skip


def _neighbour_overlap(found: FloatArray, reference: FloatArray) -> float:
    """Returns the share of each text's nearest neighbours that stay among them, on average."""
    nearest = []
    for rows in (found, reference):
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        similarity = unit @ unit.T
        np.fill_diagonal(similarity, -2)
        nearest.append(np.argpartition(-similarity, _NEIGHBOURS, axis=1)[:, :_NEIGHBOURS])
    shared = [len(set(a) & set(b)) for a, b in zip(*nearest, strict=True)]
    return float(np.mean(shared)) / _NEIGHBOURS


if __name__ == "__main__":
    sys.exit(main())
