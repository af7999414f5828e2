"""The report of a conversion: one file without external resources."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embconvert.manifest import Manifest
from embconvert.models.choices import OptimizationLevel, Precision
from embconvert.models.kinds import KINDS
from embconvert.models.shapes import CONVERSION_LENGTHS
from embconvert.reporting import plots
from embconvert.reporting.form_notes import form_notes, form_snippets
from embconvert.reporting.home import Home
from embconvert.reporting.kind_words import described, heads_of, words_for
from embconvert.reporting.prompt_rows import prompt_rows, texts_without_prompt
from embconvert.reporting.snippets import snippets
from embconvert.reporting.summary import Graph, ManifestSummary
from embconvert.reporting.templates import markup, render


def report_page(manifest: Manifest, folder: Path, *, home: Home) -> str:
    """Returns the page of a conversion as HTML, for files that are now in the folder."""
    conversion = ManifestSummary(manifest)
    graphs = conversion.graphs
    layered = [g for g in conversion.lossy if g.fidelity and g.fidelity.layers]
    chosen = conversion.recommended
    values: dict[str, Any] = {
        "conversion": conversion,
        "manifest": manifest,
        "source": manifest.source,
        "words": words_for(manifest),
        "rules": KINDS[manifest.kind],
        "described": described(manifest),
        "heads": heads_of(manifest),
        "prompt_rows": prompt_rows(manifest),
        "without_prompt": texts_without_prompt(manifest),
        "tool_version": manifest.tool.version,
        "home": home,
        "chosen": chosen,
        "rows": [(graph.label, graph) for graph in graphs],
        "lengths": CONVERSION_LENGTHS,
        "oldest_runtime": conversion.oldest_runtime,
        "layered": layered,
        "same": [g for g in conversion.verified if g.is_same],
        "fused": [g for g in graphs if _is_optimized(g)],
        "operators": _operators(graphs),
        "operator_totals": [sum(g.record.operators.values()) for g in graphs],
        "plots": _plots(conversion, layered),
        "form_notes": form_notes(manifest),
        "form_snippets": form_snippets(manifest, folder, home=home),
        "snippets": snippets(manifest, chosen[0].record, folder, home=home) if chosen else (),
    }
    values["sections"] = [
        (key, title) for key, title, shown in _sections(conversion, values) if shown
    ]
    return render("report.html", values)


def _sections(conversion: ManifestSummary, values: dict[str, Any]) -> list[tuple[str, str, object]]:
    return [
        ("files", "Files", True),
        ("heads", "Heads", values["heads"] and conversion.verified),
        ("size", "Size and fidelity", conversion.verified),
        ("layers", "Layers", conversion.verified),
        ("distribution", "Distribution", conversion.verified),
        ("worst", f"Worst {values['words'].items}", conversion.lossy),
        ("search", "Candidates of auto", conversion.manifest.search),
        ("batches", "Batches", conversion.verified),
        ("graph", "Graph", True),
        ("use", "Use it", values["snippets"]),
        ("forms", "Other forms", values["form_notes"]),
        ("source", "Source and stack", True),
    ]


def _plots(conversion: ManifestSummary, layered: Sequence[Graph]) -> dict[str, Any]:
    verified, lossy = conversion.verified, conversion.lossy
    if not verified:
        return {}
    bins = plots.used_bins(lossy) if lossy else range(0)
    most = max((max(g.fidelity.histogram) for g in lossy if g.fidelity), default=0)
    size = plots.size_against_fidelity(verified, conversion.frontier, lambda g: g.label)
    return {
        "size": markup(size),
        "layers": markup(plots.layer_drift(layered)) if layered else None,
        "distributions": [
            (graph, markup(plots.cosine_distribution(graph, bins, most=most))) for graph in lossy
        ],
    }


def _is_optimized(graph: Graph) -> bool:
    level = graph.record.optimization_level
    if graph.record.forms:
        return False
    return graph.record.precision is Precision.FLOAT32 and level is not OptimizationLevel.NONE


def _operators(graphs: Sequence[Graph]) -> list[tuple[str, list[int]]]:
    """Returns each operator with its count per graph, the most frequent first."""
    names = {name for graph in graphs for name in graph.record.operators}
    counts = {name: [g.record.operators.get(name, 0) for g in graphs] for name in names}
    return sorted(counts.items(), key=lambda entry: (-max(entry[1]), entry[0]))
