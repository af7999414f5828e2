"""The page of a conversion, and the page that compares several: one file each, nothing outside."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embconvert.manifest import Manifest
from embconvert.models.choices import OptimizationLevel, Precision
from embconvert.models.kinds import KINDS
from embconvert.reporting import plots
from embconvert.reporting.kind_words import described, words_for
from embconvert.reporting.snippets import snippets
from embconvert.reporting.summary import Conversion, Graph
from embconvert.reporting.templates import markup, page_style, render


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
        "style": page_style(),
        "conversion": conversion,
        "manifest": manifest,
        "source": manifest.source,
        "words": words_for(manifest),
        "rules": KINDS[manifest.kind],
        "described": described(manifest),
        "tool_version": manifest.tool.version,
        "name": name,
        "rows": [(graph.label, graph) for graph in graphs],
        "oldest_runtime": conversion.oldest_runtime,
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
    return render("report.html", values)


def _sections(conversion: Conversion, values: dict[str, Any]) -> list[tuple[str, str, object]]:
    return [
        ("files", "Files", True),
        ("size", "Size and fidelity", conversion.verified),
        ("layers", "Layers", conversion.verified),
        ("distribution", "Distribution", conversion.verified),
        ("worst", f"Worst {values['words'].items}", conversion.lossy),
        ("search", "What auto tried", conversion.manifest.search),
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
        "size": markup(
            plots.size_against_fidelity(verified, conversion.frontier, lambda g: g.label)
        ),
        "layers": markup(plots.layer_drift(layered)) if layered else None,
        "distributions": [
            (graph, markup(plots.cosine_distribution(graph, bins, most=most))) for graph in lossy
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
