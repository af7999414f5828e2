"""Tells GitHub what came of a conversion: the step's outputs and the job's summary."""

import argparse
import json
from pathlib import Path
from typing import Any


def verdict(manifest: dict[str, Any] | None, code: int) -> str:
    """Returns verified, not-verified or failed."""
    if code != 0 or manifest is None:
        return "failed"
    return "not-verified" if manifest["verification"]["skipped"] else "verified"


def table(manifest: dict[str, Any]) -> list[str]:
    """Returns the fidelity of every graph as a table in Markdown."""
    lines = [
        "| file | MB | mean similarity | lowest | rank correlation | in batches |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for artifact in manifest["artifacts"]:
        external = artifact["external_data"] or {"size_bytes": 0}
        size = (artifact["size_bytes"] + external["size_bytes"]) / 1e6
        fidelity = artifact["fidelity"]
        cells = ["not verified"] * 4
        if fidelity:
            near = fidelity["similarity"]
            values = (near["mean"], near["min"], fidelity["rank_correlation"], near["batch"])
            cells = [f"{value:.5f}" for value in values]
        lines.append(f"| `{artifact['path']}` | {size:.1f} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    """Writes both files."""
    parser = argparse.ArgumentParser()
    for name in ("manifest", "log", "output", "summary"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--code", type=int, required=True)
    parser.add_argument("--models", required=True)
    options = parser.parse_args()
    text = options.manifest.read_text(encoding="utf-8")
    manifest = json.loads(text) if text.strip() else None
    outcome = verdict(manifest, options.code)
    said = [f"verdict={outcome}"]
    lines = [f"## embconvert: {outcome}", ""]
    if manifest is not None:
        # A local folder's name is its last part; a hub id is a path itself.
        source = manifest["source"]["model_id"]
        name = source.rpartition("/")[2] if source.startswith("/") else source
        folder = f"{options.models}/{name}"
        said += [f"folder={folder}", f"manifest={folder}/embconvert.json"]
        lines += [f"`{source}` -> `{folder}`", "", *table(manifest)]
    else:
        errors = [
            line
            for line in options.log.read_text(encoding="utf-8", errors="replace").splitlines()
            if line.startswith(("error:", "hint:"))
        ]
        lines += ["```text", *(errors or [f"exit code {options.code}"]), "```"]
    with options.output.open("a", encoding="utf-8") as stream:
        stream.write("\n".join(said) + "\n")
    with options.summary.open("a", encoding="utf-8") as stream:
        stream.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
