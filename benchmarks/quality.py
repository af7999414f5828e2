"""How much of its quality a model keeps in each precision; `make bench-quality` runs it.

Converts a model to every precision, quantizes its graph also as ONNX Runtime's own
`quantize_dynamic` does, and embeds the sentences of the STS benchmark (English and German, dev
split) with each file. It reports and judges nothing. The sentences are read from where they lie:
their licence does not let them into this repository.
"""

import argparse
import csv
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
from machine import machine, our_versions
from pipelines import MODEL, OUR_BIN, ROOT

from embconvert.fidelity.figures import FloatArray, cosines, spearman
from embconvert.fidelity.texts import batches
from embconvert.fidelity.tokenization import TokenizedTexts, tokenize
from embconvert.graph.runtime import open_session, session_options

_PRECISIONS = "Q4,Q8,QInt8,QUInt8,QInt8Static,Float16"
_RESAMPLES = 1000
_NEIGHBOURS = 10
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
    """Measures and prints a table in Markdown."""
    options = _options()
    pairs = {n: _read(options.sts / f"stsb-{n}-dev.csv", options.pairs) for n in ("en", "de")}
    with tempfile.TemporaryDirectory(prefix="quality-", dir=ROOT / "build") as work:
        folder = options.folder or _convert(Path(work))
        naive = Path(work) / "quantize_dynamic.onnx"
        _quantize_dynamic(folder / "onnx" / "model_opt1.onnx", naive)
        files = [*sorted((folder / "onnx").glob("*.onnx"), key=lambda p: (len(p.name), p)), naive]
        print(f"{machine()}\n{our_versions()}\n")
        for language, sts in pairs.items():
            print(f"\nSTS-B dev, {language}, {len(sts.scores)} pairs\n")
            print(f"| {' | '.join(_HEADER)} |\n|---|{'---:|' * (len(_HEADER) - 1)}", flush=True)
            tokens = tokenize(folder, [*sts.first, *sts.second], max_length=256)
            reference: FloatArray | None = None
            for file in files:
                session = open_session(file, session_options())
                found, seconds = _embed(session, tokens, batches(tokens.lengths))
                reference = found if reference is None else reference
                row = _figures(session, tokens, found, reference, sts)
                size = f"{file.stat().st_size / 1e6:.1f} MB"
                speed = f"{len(found) / seconds:.0f}"
                print(f"| {' | '.join([file.name, size, *row, speed])} |", flush=True)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    data = ROOT.parent / "shared" / "data" / "sts"
    parser.add_argument("--sts", type=Path, default=data, help="folder with the STS benchmark")
    parser.add_argument("--folder", type=Path, help="a converted model; else MiniLM is converted")
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


def _convert(work: Path) -> Path:
    command = [
        str(OUR_BIN / "embconvert"), "all", "--model_id", str(MODEL), "--output_parent_dir",
        str(work), "--quantize", _PRECISIONS, "--skip_validation", "--quiet",
    ]  # fmt: skip
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Path(done.stdout.strip())


def _quantize_dynamic(source: Path, target: Path) -> None:
    """Quantizes with ONNX Runtime's own tool, weights a scale for each channel and of 7 bits."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        source, target, per_channel=True, reduce_range=True, weight_type=QuantType.QInt8,
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )  # fmt: skip


def _embed(
    session: Any, tokens: TokenizedTexts, groups: Sequence[Sequence[int]]
) -> tuple[FloatArray, float]:
    """Returns the embeddings of the groups' texts, by text, and the seconds that it took."""
    names = [i.name for i in session.get_inputs()]
    rows: dict[int, FloatArray] = {}
    session.run(["sentence_embedding"], tokens.batch(groups[-1], names))
    start = time.perf_counter()
    for group in groups:
        found = session.run(["sentence_embedding"], tokens.batch(group, names))[0]
        rows |= dict(zip(group, found, strict=True))
    seconds = time.perf_counter() - start
    return np.stack([rows[index] for index in sorted(rows)]), seconds


def _figures(
    session: Any, tokens: TokenizedTexts, found: FloatArray, reference: FloatArray, sts: Pairs
) -> list[str]:
    """Returns the cells between the size and the throughput."""
    count = len(sts.scores)
    similarity = cosines(found[:count], found[count:])
    random = np.random.default_rng(0)
    draws = [random.integers(0, count, count) for _ in range(_RESAMPLES)]
    low, high = np.percentile(
        [100 * spearman(similarity[d], sts.scores[d]) for d in draws], [2.5, 97.5]
    )
    near = cosines(found, reference)
    some = list(range(0, len(found), max(1, len(found) // 50)))
    alone, seconds = _embed(session, tokens, [[index] for index in some])
    together = cosines(alone, found[some])
    return [
        f"{100 * spearman(similarity, sts.scores):.2f} ({low:.2f}-{high:.2f})",
        f"{near.mean():.5f}", f"{np.percentile(near, 1):.5f}", f"{near.min():.5f}",
        f"{_neighbour_overlap(found, reference):.3f}", f"{together.min():.5f}",
        f"{1000 * seconds / len(some):.1f}",
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
