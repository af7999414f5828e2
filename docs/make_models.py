"""Writes docs/models.md from the records in tests/twins/records; `make docs` runs it."""

from itertools import groupby
from pathlib import Path

from embconvert.models.kinds import Kind
from support.twins.records import Status, Twin, twins

PAGE = Path(__file__).with_name("models.md")

_HEAD = """\
# Models

What embconvert does with models that people download most. The tests build a tiny random model with the \
structure of each repository (its files, formats, names, modules, tokenizer and settings), convert it, and compare \
the published folder, loaded with nothing but `tokenizers` and ONNX Runtime, with the model's own library: with each of \
its prompts, alone and in batches, with empty texts, texts beyond the length, and several scripts. So this page says that \
the structure is handled right, not how a quantized file of that model scores; a conversion measures that.

* **works**: converts without options.
* **needs a flag**: converts with the option in the last column.
* **refused**: a conversion ends with the exit code and the reason in the last column.
* **not yet**: refused like that today; planned.

A model with code of its own is tested with code of ours in its place, and not at all if its code is in another repository.

A model that is not here is not worse off: there is no list of supported models, and [architectures](architectures.md) are tried as well. To add one, describe it in a \
record in tests/twins/records. This page is generated from these records by `make docs`.
"""
_TITLES = {
    Kind.EMBEDDING: "Embedding models",
    Kind.RERANKER: "Rerankers",
    Kind.SPARSE: "Sparse models",
    Kind.LATE_INTERACTION: "Late-interaction models",
    Kind.HYBRID: "Hybrid models",
}


def page() -> str:
    """Returns the page, Markdown."""
    parts = [_HEAD]
    for kind, found in groupby(sorted(twins(), key=lambda t: list(_TITLES).index(t.kind)), _kind):
        parts.append(f"## {_TITLES[kind]}\n\n| model | year | architecture | result | notes |")
        parts.append("|---|---|---|---|---|\n" + "\n".join(map(_row, found)) + "\n")
    return "\n".join(parts)


def _kind(twin: Twin) -> Kind:
    return twin.kind


def _row(twin: Twin) -> str:
    model = f"[{twin.model}](https://huggingface.co/{twin.model})"
    cells = [model, str(twin.year), str(twin.config.get("model_type", "none")), twin.status]
    return "| " + " | ".join([*cells, _notes(twin)]) + " |"


def _notes(twin: Twin) -> str:
    notes = [f"`{' '.join(twin.flags)}`."] if twin.flags else []
    if twin.status in (Status.REFUSED, Status.NOT_YET) and twin.refusal is not None:
        notes.append(f"Exit code {twin.refusal.code}, “… {twin.refusal.message} …”.")
    return " ".join([*notes, twin.note]).replace("|", "\\|").strip()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
