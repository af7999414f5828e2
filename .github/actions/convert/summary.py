"""Reports a conversion to GitHub: the outputs of the step and the summary of the job."""

import argparse
import json
import re
import unicodedata
from collections.abc import Collection
from pathlib import Path
from typing import Any


# The runner's Python has no embconvert: these say the same as embconvert/foreign_text.py.
def visible(text: object) -> str:
    """Returns a text as one line in which everything can be seen."""
    joined = " ".join(str(text).split())[:2000]
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in joined)


def file_name(text: str) -> str:
    """Returns the name of the folder that a local model is published to."""
    return "".join(c if c.isprintable() or unicodedata.category(c) == "Zs" else "_" for c in text)


def longest_run_of_ticks(text: str) -> int:
    """Returns how many backticks stand side by side."""
    return max(map(len, re.findall("`+", text)), default=0)


def code(text: object) -> str:
    """Returns a text as code within a line or a cell of Markdown."""
    content = visible(text)
    if not content or "|" in content:
        return re.sub(r"[!#$&*+:<=>@\[\\\]^_`{|}~]", r"\\\g<0>", content)
    ticks = "`" * (longest_run_of_ticks(content) + 1)
    room = " " if content.startswith("`") or content.endswith("`") else ""
    return f"{ticks}{room}{content}{room}{ticks}"


def block(lines: list[str]) -> list[str]:
    """Returns lines as a block of code that none of them ends."""
    ticks = "`" * max(3, longest_run_of_ticks("\n".join(lines)) + 1)
    return [f"{ticks}text", *map(visible, lines), ticks]


def verdict(manifests: Collection[dict[str, Any]]) -> str:
    """Returns verified, not-verified or failed."""
    if not manifests:
        return "failed"
    skipped = any(manifest["verification"]["skipped"] for manifest in manifests)
    return "not-verified" if skipped else "verified"


def table(manifest: dict[str, Any]) -> list[str]:
    """Returns the fidelity of every graph as a table in Markdown."""
    compared = [graph["fidelity"] for graph in manifest["artifacts"] if graph["fidelity"]]
    # Of rerankers, scores are compared, by agreement.
    is_score = any(fidelity["similarity"]["measure"] == "agreement" for fidelity in compared)
    measure = "agreement" if is_score else "cosine"
    lines = [
        f"| file | MB | mean {measure} | min {measure} | top 10 kept | rank corr. | "
        f"batch {measure} |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for artifact in manifest["artifacts"]:
        external = artifact["external_data"] or {"size_bytes": 0}
        size = (artifact["size_bytes"] + external["size_bytes"]) / 1e6
        fidelity = artifact["fidelity"]
        cells = ["not verified"] * 5
        if fidelity:
            near = fidelity["similarity"]
            kept = fidelity["neighbours"]
            cells = [
                f"{near['mean']:.5f}",
                f"{near['min']:.5f}",
                f"{kept['kept']:.1%}" if kept else "–",
                f"{fidelity['rank_correlation']:.5f}",
                f"{near['batch']:.5f}",
            ]
        lines.append(f"| {code(artifact['path'])} | {size:.1f} | " + " | ".join(cells) + " |")
    return lines


def read_result(path: Path) -> dict[str, Any] | None:
    """Returns what the command printed as JSON; None if it was killed before that."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return result if isinstance(result, dict) else None


def main() -> None:
    """Writes both files."""
    parser = argparse.ArgumentParser()
    for name in ("result", "output", "summary"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--code", type=int, required=True)
    parser.add_argument("--models", required=True)
    options = parser.parse_args()
    result = read_result(options.result) or {}
    # A command that fails prints its errors instead: see embconvert/data/error.schema.json.
    is_done = options.code == 0 and bool(result)
    # A model with routes has a manifest for each, in a folder of its own.
    manifests = result.get("routes", {"": result}) if is_done else {}
    outcome = verdict(manifests.values())
    said = [f"verdict={outcome}"]
    lines = [f"## embconvert: {outcome}", ""]
    folder = ""
    for route, manifest in manifests.items():
        # A local folder is recorded as ./NAME; a hub id is a path itself.
        source = manifest["source"]["model_id"]
        name = file_name(source[2:]) if source.startswith("./") else source
        folder = f"{options.models}/{name}"
        target = f"{folder}/{route}" if route else folder
        lines += [f"{code(source)} -> {code(target)}", "", *table(manifest), ""]
    if manifests:
        said += [f"folder={folder}"]
        said += [f"manifest={folder}/embconvert.json"] if "" in manifests else []
    else:
        said_so = [
            f"{name}: {problem[key]}"
            for problem in result.get("errors", ())
            for name, key in (("error", "message"), ("hint", "hint"))
        ]
        lines += block(said_so or [f"exit code {options.code}"])
    with options.output.open("a", encoding="utf-8") as stream:
        # One line each: the runner would take a second line for another output.
        stream.write("\n".join(map(visible, said)) + "\n")
    with options.summary.open("a", encoding="utf-8") as stream:
        stream.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
