"""The page of a conversion, and the page that compares several: one file each, nothing outside."""

import html
import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from embconvert.config import OptimizationLevel, Precision
from embconvert.manifest import Manifest
from embconvert.reporting import plots
from embconvert.reporting.snippets import snippets
from embconvert.reporting.summary import Conversion, Graph
from embconvert.reporting.words import cosine_text, loss_text
from embconvert.texts import verification_texts

_BEGINNING = 140


def report_page(manifest: Manifest, folder: Path, *, name: str) -> str:
    """Returns the page of a conversion as HTML.

    Args:
        manifest: Of the folder.
        folder: Where the published files are now.
        name: What the folder is called where it is used.
    """
    conversion = Conversion(manifest)
    graphs = conversion.graphs
    layered = [g for g in conversion.lossy if g.fidelity and g.fidelity.layers]
    smallest = conversion.smallest
    values: dict[str, Any] = {
        "conversion": conversion,
        "manifest": manifest,
        "source": manifest.source,
        "tool_version": manifest.tool_version,
        "name": name,
        "rows": [(graph.label, graph) for graph in graphs],
        "oldest_runtime": max(
            (g.record.min_onnxruntime for g in graphs), key=_version, default="–"
        ),
        "layered": layered,
        "same": [g for g in conversion.verified if g.is_same],
        "fused": [g for g in graphs if _is_optimized(g)],
        "operators": _operators(graphs),
        "operator_totals": [sum(g.record.operators.values()) for g in graphs],
        "plots": _plots(conversion, layered),
        "snippets": snippets(manifest, smallest.record, folder, name=name) if smallest else (),
    }
    values["sections"] = [
        (key, title) for key, title, shown in _sections(conversion, values) if shown
    ]
    return _render("report.html", values)


def _sections(conversion: Conversion, values: dict[str, Any]) -> list[tuple[str, str, object]]:
    return [
        ("files", "Files", True),
        ("size", "Size and fidelity", conversion.verified),
        ("layers", "Layers", conversion.verified),
        ("distribution", "Distribution", conversion.verified),
        ("worst", "Worst texts", conversion.lossy),
        ("batches", "Batches", conversion.verified),
        ("graph", "Graph", True),
        ("use", "Use it", values["snippets"]),
        ("source", "Source and stack", True),
    ]


def _plots(conversion: Conversion, layered: Sequence[Graph]) -> dict[str, Any]:
    verified, lossy = conversion.verified, conversion.lossy
    if not verified:
        return {}
    bins = plots.used_bins(lossy) if lossy else range(0)
    most = max((max(g.fidelity.histogram) for g in lossy if g.fidelity), default=0)
    return {
        "size": _markup(
            plots.size_against_fidelity(verified, conversion.frontier, lambda g: g.label)
        ),
        "layers": _markup(plots.layer_drift(layered)) if layered else None,
        "distributions": [
            (graph, _markup(plots.cosine_distribution(graph, bins, most=most))) for graph in lossy
        ],
    }


def _is_optimized(graph: Graph) -> bool:
    level = graph.record.optimization_level
    return graph.record.precision is Precision.FLOAT32 and level is not OptimizationLevel.NONE


def _operators(graphs: Sequence[Graph]) -> list[tuple[str, list[int]]]:
    """Returns every operator with its count in each graph, the most frequent first."""
    names = {name for graph in graphs for name in graph.record.operators}
    counts = {name: [g.record.operators.get(name, 0) for g in graphs] for name in names}
    return sorted(counts.items(), key=lambda entry: (-max(entry[1]), entry[0]))


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def _markup(svg: str) -> Any:
    from markupsafe import Markup

    return Markup(svg)  # of plots, which escapes what it is given


def _ticks(text: str) -> Any:
    """Returns a sentence as HTML, what is between backticks as code."""
    from markupsafe import Markup

    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text)))


def _beginning(text_id: str) -> str:
    """Returns how one of the verification texts begins, what is invisible made visible."""
    text = _texts().get(text_id)
    if text is None:
        return "(a text of another version)"
    if not text.strip():
        return f"(only blanks: {text!r})" if text else "(the empty text)"
    shown = "".join(c if c.isprintable() else "␤" if c == "\n" else "·" for c in text[:_BEGINNING])
    return shown + ("…" if len(text) > _BEGINNING else "")


@cache
def _texts() -> dict[str, str]:
    texts = verification_texts()
    return dict(zip(texts.ids, texts.texts, strict=True))


@cache
def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("embconvert.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {
        "cosine": cosine_text,
        "loss": loss_text,
        "decimal": lambda value, digits: f"{value:.{digits}f}",
        "beginning": _beginning,
        "ticks": _ticks,
    }
    return environment


def _render(template: str, values: dict[str, Any]) -> str:
    folder = resources.files("embconvert.reporting").joinpath("templates")
    style = folder.joinpath("page.css").read_text(encoding="utf-8")
    text = _environment().get_template(template).render(values | {"style": _markup(style)})
    return str(text) + "\n"
