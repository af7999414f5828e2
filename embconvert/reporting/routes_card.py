"""The card of an asymmetric model: which of its routes is for what, and code that uses them all."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from embconvert.foreign_text import markdown_code, python_string
from embconvert.manifest import CARD_FILE, Manifest
from embconvert.regular_files import IrregularFile, open_regular, replace_file
from embconvert.reporting.home import Home
from embconvert.reporting.kind_words import described
from embconvert.reporting.sample_texts import DOCUMENTS, QUERY, prompt_of_task
from embconvert.reporting.snippet_parts import (
    SENTENCE,
    ServedModel,
    feed_lines,
    output_line,
    setup_lines,
)
from embconvert.reporting.snippets import served_model
from embconvert.reporting.summary import ManifestSummary
from embconvert.reporting.templates import render

_MARK = "<!-- embconvert wrote this file; its sha256 without this line: {} -->\n"
_MAX_BYTES = 1 << 20
_TEXTS = {"query": (QUERY,), "document": DOCUMENTS}


@dataclass(frozen=True, kw_only=True)
class RouteRow:
    """A route as the card shows it."""

    name: str
    calls: str
    output: str
    file: str | None


def routes_card(routes: Mapping[str, Manifest], folder: Path, *, name: str) -> str:
    """Returns the card as Markdown; `name` is that of the folder when it is read."""
    conversions = {route: ManifestSummary(manifest) for route, manifest in routes.items()}
    first = next(iter(conversions.values()))
    rows = []
    models = []
    for route, conversion in conversions.items():
        record, chosen = conversion.manifest.source.route, conversion.recommended
        assert record is not None
        rows.append(
            RouteRow(
                name=route,
                calls=", ".join(map(markdown_code, record.calls)),
                output=described(conversion.manifest),
                file=chosen[0].record.path if chosen else None,
            )
        )
        if chosen is not None:
            home = Home(name=f"{name}/{route}")
            models.append(served_model(conversion.manifest, chosen[0].record, folder / route, home))
    return render(
        "routes.md",
        {
            "title": first.title,
            "rows": rows,
            "name": name,
            "code": ("\n".join(map(_code, models)) + _comparison(models)).rstrip("\n"),
        },
    )


def _code(model: ServedModel) -> str:
    route = model.source.route
    assert route is not None
    texts = _TEXTS.get(route.task or "", (QUERY,))
    prompts = model.source.prompts
    prompt = prompts.text(prompt_of_task(prompts, route.task))
    lines = "".join(f"    {python_string(prompt + text)},\n" for text in texts)
    return f"""\
# The route {route.name}
{setup_lines(model)}encodings = tokenizer.encode_batch([
{lines}])
{feed_lines(model)}{output_line(model, _variable(route.name), SENTENCE)}
"""


def _variable(route: str) -> str:
    return f"vectors_{route.replace('-', '_')}"


def _comparison(models: list[ServedModel]) -> str:
    """Returns the code that compares the vectors of the first two routes, if they can be."""
    names = [m.source.route.name for m in models if m.source.route is not None]
    if len(names) < 2 or models[0].dimension != models[1].dimension:
        return ""
    return f"print({_variable(names[0])} @ {_variable(names[1])}.T)\n"


def write_routes_card(routes: Mapping[str, Manifest], folder: Path) -> bool:
    """Writes the card into a model's folder; returns whether it did.

    A card that the user changed is kept.
    """
    try:
        with open_regular(folder, CARD_FILE) as stream:
            mark, _, text = stream.read(_MAX_BYTES).decode("utf-8", "replace").partition("\n")
            if mark + "\n" != _marked(text):
                return False
    except FileNotFoundError:
        pass
    except IrregularFile:
        return False
    card = routes_card(routes, folder, name=folder.resolve().name)
    replace_file(folder / CARD_FILE, (_marked(card) + card).encode("utf-8", "replace"))
    return True


def _marked(text: str) -> str:
    return _MARK.format(hashlib.sha256(text.encode("utf-8", "replace")).hexdigest())
