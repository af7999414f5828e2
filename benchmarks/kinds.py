"""Runs each kind of model with each precision and each command, and writes build/kinds/page.md.

    make kinds        (or: python benchmarks/kinds.py sparse hybrid)

Tiny random models; results are added to build/kinds/results.json, and a later run does only what is
missing or named. Remove the file to do all again.
"""

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from embconvert.models.choices import QUANTIZED_PRECISIONS  # noqa: E402
from support import asymmetric, multimodal, zoo  # noqa: E402
from support.command_line import Outcome, embconvert  # noqa: E402
from support.lora import build_adapter  # noqa: E402

WORK = ROOT / "build/kinds"
PAGE = WORK / "page.md"
RESULTS = WORK / "results.json"
PRECISIONS = tuple(map(str, QUANTIZED_PRECISIONS))
#: What is done with the folder of all precisions, after the conversion.
COMMANDS = ("verify", "verify --against", "evaluate", "bench", "report", "list", "diff")
COLUMNS = (*PRECISIONS, "auto", "--no_float32", *COMMANDS)
#: Random weights lose more than trained ones.
LOSSY = ("--min_cosine", "0.5", "--min_neighbours", "0")
Result = dict[str, str]


def _adapted(folder: Path, scratch: Path) -> Path:
    build_adapter(scratch / "adapter", zoo.build_model("bert", folder))
    return folder


def _hybrid(folder: Path, _: Path) -> Path:
    return zoo.add_heads(zoo.build_model("xlm-roberta", folder, pooling=None))


def _alone(build: Callable[..., Path], *words: object) -> Callable[[Path, Path], Path]:
    return lambda folder, _: build(*words, folder)


#: By name: what builds it in a folder, with another for parts, and the options of its conversion.
KINDS: Mapping[str, tuple[Callable[[Path, Path], Path], tuple[str, ...]]] = {
    "embedding": (_alone(zoo.build_model, "bert"), ()),
    "embedding of a decoder": (_alone(zoo.build_model, "qwen3"), ()),
    "embedding, int8": (_alone(zoo.build_model, "bert"), ("--output_precision", "int8")),
    "embedding, ubinary": (_alone(zoo.build_model, "bert"), ("--output_precision", "ubinary")),
    "embedding with an adapter": (_adapted, ()),
    "embedding of a text tower": (_alone(multimodal.build, "clip"), ()),
    "embedding with routes": (asymmetric.build_two_towers, ()),
    "static": (_alone(zoo.build_static), ()),
    "static of model2vec": (_alone(zoo.build_model2vec), ()),
    "reranker": (_alone(zoo.build_reranker, "bert"), ()),
    "generative reranker": (_alone(zoo.build_generative_reranker, "qwen3"), ()),
    "sparse": (_alone(zoo.build_sparse, "bert"), ()),
    "sparse, token logits": (_alone(zoo.build_sparse, "bert"), ("--output", "logits")),
    "inference-free sparse": (asymmetric.build_inference_free, ()),
    "late-interaction": (_alone(zoo.build_late_interaction, "modernbert"), ()),
    "hybrid": (_hybrid, ()),
}


def main(names: Sequence[str]) -> None:
    WORK.mkdir(parents=True, exist_ok=True)
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    for name in names or [name for name in KINDS if name not in results]:
        found = tried(name)
        results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
        results[name] = found
        RESULTS.write_text(json.dumps(results, indent=1), encoding="utf-8")
        PAGE.write_text(page(results), encoding="utf-8")


def tried(name: str) -> Result:
    """Returns the result for a kind: "yes", or why not, by precision and command."""
    build, options = KINDS[name]
    work = WORK / name.replace(" ", "-").replace(",", "")
    shutil.rmtree(work, ignore_errors=True)
    model = build(work / "model", work / "parts")
    if name == "embedding with an adapter":
        options = ("--adapter", str(work / "parts/adapter"))
    lossy = LOSSY[:2] if "reranker" in name else LOSSY
    convert = partial(_convert, work, [*options, *lossy])
    whole = convert("whole", "--quantize", ",".join(PRECISIONS))
    folders = sorted(path.parent for path in (work / "whole").rglob("embconvert.json"))
    if not folders:
        return dict.fromkeys(COLUMNS, _why(whole))
    found: Result = {}
    for precision in PRECISIONS:
        # Of a model with routes, some may have nothing to quantize.
        files = [
            file for folder in folders for file in (folder / "onnx").glob(f"*_{precision}.onnx")
        ]
        found[precision] = "yes" if files else _why(whole, "stays float32")
    found["auto"] = _why(convert("auto", "--quantize", "auto"))
    found["--no_float32"] = _why(convert("small", "--quantize", "QInt8", "--no_float32"))
    data = work / "data.tsv"
    rows = [f"{one}\t{other}\t{n % 3}" for n, (one, other) in enumerate(_pairs())]
    data.write_text("\n".join(["sentence1\tsentence2\tscore", *rows]), encoding="utf-8")
    for command in COMMANDS:
        # There is nothing to compare with the only graph of a table of weights.
        several = [f for f in folders if command != "diff" or len(list(f.glob("onnx/*.onnx"))) > 1]
        runs = [_command(command, folder, model, data, options) for folder in several]
        found[command] = _why(next((run for run in runs if run.code), runs[0]))
    return found


def _pairs() -> list[tuple[str, str]]:
    lines = [" ".join(text.split()) for text in zoo.SENTENCES if text.strip()]
    return list(pairwise(lines))


def _convert(work: Path, options: Sequence[str], out: str, *words: str) -> Outcome:
    return embconvert(
        "all", "--model_id", work / "model", "--output_parent_dir", work / out, *options, *words
    )


def _command(
    command: str, folder: Path, model: Path, data: Path, options: Sequence[str]
) -> Outcome:
    adapter = options if "--adapter" in options else ()
    if command == "list":
        return embconvert("list", folder.parent)
    if command == "diff":
        return embconvert("diff", *sorted((folder / "onnx").glob("*.onnx"))[:2])
    words: dict[str, tuple[object, ...]] = {
        "verify --against": ("--against", model, *adapter),
        "evaluate": ("--data", data),
        "bench": (
            "--output",
            folder.parent / "bench.html",
            "--seconds",
            "1",
            "--threads",
            "1",
            "--shapes",
            "1x16",
        ),
    }
    return embconvert(command.partition(" ")[0], folder, *words.get(command, ()))


def _why(outcome: Outcome, otherwise: str = "yes") -> str:
    errors = [line for line in outcome.stderr.splitlines() if line.startswith("error: ")]
    return otherwise if outcome.code == 0 else f"exit code {outcome.code}: {' '.join(errors)}"


_HEAD = """\
# Kinds, precisions and commands

Tiny random models of each kind, converted to every precision, and every command run on the folder.
`make kinds` repeats it and writes this page. A number refers to the reason below; speed and loss of
random weights say nothing, so they are not here.

"""


def page(results: Mapping[str, Result]) -> str:
    reasons = list(dict.fromkeys(r for one in results.values() for r in one.values() if r != "yes"))
    lines = [f"| kind | {' | '.join(COLUMNS)} |", "|---|" + ":-:|" * len(COLUMNS)]
    for name in [name for name in KINDS if name in results]:
        cells = [results[name][column] for column in COLUMNS]
        shown = [cell if cell == "yes" else f"({reasons.index(cell) + 1})" for cell in cells]
        lines.append(f"| {name} | {' | '.join(shown)} |")
    notes = [f"{number}. {reason}" for number, reason in enumerate(reasons, 1)]
    return _HEAD + "\n".join([*lines, "", *notes]) + "\n"


if __name__ == "__main__":
    main(sys.argv[1:])
