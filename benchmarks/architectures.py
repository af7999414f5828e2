"""Converts a tiny random model of every text architecture, and writes docs/architectures.md.

    make zoo        (or: python benchmarks/architectures.py [--check] bert mamba)

The models are converted with `embconvert batch`, a few at a time; results are added to
build/zoo/results.json, and a later run does only what is missing or names: it goes on where an
earlier one stopped. Remove the file to do all again. With --check, models are exported, optimized
and compared in one process (architecture_check.py), which takes a fifth of the time.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from architecture_check import check_apart  # noqa: E402

from support.all_architectures import Unbuilt, make, text_model_types  # noqa: E402

PAGE = ROOT / "docs/architectures.md"
WORK = ROOT / "build/zoo"
RESULTS = WORK / "results.json"
#: Models in one batch: few, so that little is lost when it is stopped.
TOGETHER = 5
#: Of embedding models that people use; the others follow in order of their names.
POPULAR = (
    "bert", "roberta", "xlm-roberta", "mpnet", "distilbert", "modernbert", "qwen3", "qwen2",
    "nomic_bert", "gte", "gemma3_text", "mistral", "llama", "t5", "mt5", "qwen3_moe", "mixtral",
    "qwen3_5_text", "qwen3_next", "mamba", "lfm2", "deberta-v2", "albert", "electra", "eurobert",
    "jina_embeddings_v3", "camembert", "gpt2", "jamba", "llama4_text", "deepseek_v3", "squeezebert",
    "olmo_hybrid", "nemotron_h", "rwkv", "longformer",
)  # fmt: skip
Result = dict[str, Any]

_HEAD = """\
# Architectures

Tiny random models of the {all} text architectures of transformers {transformers}, with each kind of
layer that they have. `make zoo` repeats the run and writes this page. There is no list of supported
architectures: whatever converts and agrees with its source is published.

| | |
|---:|---|
| {converted} | converted and verified by `embconvert batch` |
| {checked} | exported, optimized and compared with torch, in one process |
| {refused} | refused by name, before weights are read |
| {unloadable} | not text encoders: sentence-transformers cannot load or embed with them |
| {failed} | not converted for another reason |
| {unbuilt} | not tried: no small model could be made of them here |

* **exporter**: `trace` is torch's tracing exporter, `torch.export` the second one.
* **attention**, **norms**: operators that were fused, of those found; what is left, and why, is
  [below](#left-unfused), and in each folder's manifest.
* **cosine**: the lowest of any text to the source, of the optimized graph.
* **difference**: the largest between two embeddings of random tokens, from 1 to 100 in a text and
  padded on either side, as a part of the largest number in them.
* **seconds**: to export and optimize, on a machine with other work.
"""
_CONVERTED = """
## Converted and verified

At the default settings, compared with the source on the built-in texts.

| architecture | exporter | attention | norms | cosine | seconds |
|---|---|---:|---:|---:|---:|
"""
_CHECKED = """
## Exported, optimized and compared

In float32 (`--check`): without the tokenizer, the texts, the thresholds and the quantized files of
a conversion. A row, here and above, is of the run that last did it.

| architecture | exporter | attention | norms | difference | seconds |
|---|---|---:|---:|---:|---:|
"""
_LEFT = """
## Left unfused

These remain operators of ONNX's own, which compute the same.

| architecture | operator | number | reason |
|---|---|---:|---|
"""
_FAILED = """
## {title}

| architecture | exit code | reason |
|---|---:|---|
"""
#: What a failure is, by a part of its message; the first that fits.
_KINDS = {
    "refused": ("cannot be converted: ",),
    "unloadable": (
        "sentence-transformers cannot embed", "the model cannot be loaded", "finds none of its "
    ),
}  # fmt: skip
_TITLES = {
    "refused": "Refused by name",
    "unloadable": "Not text encoders of sentence-transformers",
    "failed": "Not converted",
    "unbuilt": "Not tried",
}


def main(names: Sequence[str]) -> None:
    results = read_results()
    only_check = "--check" in names
    if only_check:
        import torch

        torch.set_num_threads(1)  # before models are made: see check_apart()
    wanted = [n for n in names if n != "--check"] or [n for n in in_order() if n not in results]
    for start in range(0, len(wanted), TOGETHER):
        group = [n for n in wanted[start : start + TOGETHER] if build_once(n, results)]
        if only_check:
            results |= {name: checked(WORK / "models" / name) for name in group}
        else:
            results |= convert(group)
        RESULTS.write_text(json.dumps(results, indent=1), encoding="utf-8")
        PAGE.write_text(page(results), encoding="utf-8")


def in_order() -> list[str]:
    """Returns the architectures, the popular ones first."""
    return list(dict.fromkeys((*POPULAR, *text_model_types())))


def read_results() -> dict[str, Result]:
    WORK.mkdir(parents=True, exist_ok=True)
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}


def build_once(name: str, results: dict[str, Result]) -> bool:
    """Builds a model that is not there; says whether it is there now."""
    folder = WORK / "models" / name
    try:
        if not (folder / "tokenizer.json").is_file():
            shutil.rmtree(folder, ignore_errors=True)
            make(name, folder, gain=1.5)
    except Unbuilt as reason:
        results[name] = {"status": "unbuilt", "code": "", "error": str(reason)}
        return False
    return True


def checked(model: Path) -> Result:
    """Returns the result of a check, as result() does of a conversion."""
    found = check_apart(model)
    if "fusions" in found:
        fusions = {fusion["kind"]: fusion for fusion in found.pop("fusions")}
        found |= shares(fusions) | {"transformers": version("transformers")}
    return found


def convert(names: Sequence[str]) -> dict[str, Result]:
    """Converts models; returns the result of each."""
    if not names:
        return {}
    models = [{"model_id": str(WORK / "models" / name)} for name in names]
    (WORK / "list.json").write_text(json.dumps(
        {"defaults": {"output_parent_dir": str(WORK / "out")}, "models": models}
    ))  # fmt: skip
    command = [sys.executable, "-m", "embconvert", "batch", str(WORK / "list.json"), "--json"]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, cwd=ROOT)
    return {
        Path(found["model_id"]).name: result(found) for found in json.loads(run.stdout)["models"]
    }


def result(found: Result) -> Result:
    """Returns what the page needs of a model's entry in the summary and of its manifest."""
    if found["status"] == "failed":
        return {"status": "failed", "code": found["exit_code"], "error": found["error"]}
    manifest = json.loads((Path(found["folder"]) / "embconvert.json").read_text(encoding="utf-8"))
    exported = next(a for a in manifest["artifacts"] if a["optimization_level"] == 0)
    optimized = next(a for a in manifest["artifacts"] if a["optimization_level"])
    fusions = {fusion["kind"]: fusion for fusion in optimized["fusions"]}
    return {
        "status": "converted",
        "exporter": exported["method"],
        **shares(fusions),
        "cosine": optimized["fidelity"]["similarity"]["min"],
        "seconds": exported["duration_s"] + optimized["duration_s"],
        "transformers": version("transformers"),
    }


def shares(fusions: dict[str, Any]) -> Result:
    norms = ("layer norm", "RMS norm")
    shown = {kind: fusions[kind] for kind in ("attention", *norms) if kind in fusions}
    return {
        "attention": share(fusions, "attention"),
        "norms": share(fusions, *norms),
        "left": {kind: fusion["left"] for kind, fusion in shown.items() if fusion["left"]},
    }


def share(fusions: dict[str, Any], *kinds: str) -> str:
    """Returns "2 of 3", or "none" where none was found."""
    present = [fusions[kind] for kind in kinds if kind in fusions]
    fused = sum(fusion["fused"] for fusion in present)
    found = fused + sum(sum(fusion["left"].values()) for fusion in present)
    return f"{fused} of {found}" if found else "none"


def page(results: dict[str, Result]) -> str:
    """Returns the page, Markdown."""
    groups: dict[str, dict[str, Result]] = {name: {} for name in ("converted", "checked", *_TITLES)}
    for name, r in sorted(results.items()):
        groups[group_of(r)][name] = r
    passed = (*groups["converted"].values(), *groups["checked"].values())
    text = _HEAD.format(
        transformers=", ".join(sorted({r["transformers"] for r in passed})), all=len(in_order()),
        **{name: len(group) for name, group in groups.items()},
    )  # fmt: skip
    text += _CONVERTED + "".join(converted_rows(groups["converted"]))
    if groups["checked"]:
        text += _CHECKED + "".join(converted_rows(groups["checked"]))
    text += _LEFT + "".join(left_rows(groups["converted"] | groups["checked"]))
    for name, title in _TITLES.items():
        if groups[name]:
            text += _FAILED.format(title=title) + "".join(failed_rows(groups[name]))
    return text


def group_of(r: Result) -> str:
    if r["status"] == "converted":
        return "checked" if "difference" in r else "converted"
    if r["status"] == "unbuilt":
        return "unbuilt"
    found = (name for name, parts in _KINDS.items() if any(p in r["error"] for p in parts))
    return next(found, "failed")


def converted_rows(results: dict[str, Result]) -> Iterator[str]:
    for name, r in results.items():
        figure = f"{r['difference']:.0e}" if "difference" in r else f"{r['cosine']:.6f}"
        cells = (name, r["exporter"], r["attention"], r["norms"], figure)
        yield f"| {' | '.join(cells)} | {r['seconds']:.0f} |\n"


def left_rows(results: dict[str, Result]) -> Iterator[str]:
    for name, r in sorted(results.items()):
        for kind, reasons in r.get("left", {}).items():
            for reason, count in reasons.items():
                yield f"| {name} | {kind} | {count} | {reason} |\n"


def failed_rows(results: dict[str, Result]) -> Iterator[str]:
    for name, r in results.items():
        # Names of folders of this machine are of no use to a reader.
        reason = re.sub(r"'/[^']*'", f"'{name}'", r["error"].replace(str(WORK), ""))
        reason = " ".join(reason.replace("|", "\\|").split())
        yield f"| {name} | {r['code']} | {reason[:200]} |\n"


if __name__ == "__main__":
    main(sys.argv[1:])
