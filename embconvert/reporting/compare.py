"""`embconvert compare`: several conversions on one page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from embconvert.evaluation.records import DataRecord, Evaluation, Evaluations, FigureRecord
from embconvert.folder.evaluations import read_evaluations
from embconvert.folder.published import published_manifest
from embconvert.folder.routes import published_routes
from embconvert.manifest import Manifest
from embconvert.reporting import plots
from embconvert.reporting.evaluation_table import value_text
from embconvert.reporting.output_page import write_page
from embconvert.reporting.summary import Graph, ManifestSummary, frontier
from embconvert.reporting.templates import markup, render
from embconvert.reporting.words import numbered
from embconvert.request.records import CompareRequest, Finished


def compare(request: CompareRequest) -> Finished:
    """Writes the page that compares folders.

    Raises UsageError for a folder that embconvert did not publish, SourceError for a broken file,
    and OutputError if the page cannot be written.
    """
    manifests = {folder: published_manifest(folder) for folder in request.folders}
    names = _names(request.folders)
    conversions = {names[f]: ManifestSummary(manifest) for f, manifest in manifests.items()}
    evaluations = {names[f]: _evaluations_of(f, manifest) for f, manifest in manifests.items()}
    page = comparison_page(conversions, evaluations)
    write_page(request.output, page)
    return Finished(text=str(request.output))


def _evaluations_of(folder: Path, manifest: Manifest) -> Evaluations:
    """Returns those of a folder; of a route also those above it, of two routes together."""
    found = read_evaluations(folder).evaluations
    if manifest.source.route:
        found += _of_routes(folder.resolve().parent)
    return Evaluations(evaluations=found)


def _of_routes(folder: Path) -> tuple[Evaluation, ...]:
    """Returns the evaluations of a model with routes, without pairs of which one has changed."""
    now = {a.sha256 for route in published_routes(folder).values() for a in route.artifacts}
    found = [
        replace(one, graphs=tuple(graph for graph in one.graphs if now.issuperset(graph.digests)))
        for one in read_evaluations(folder).evaluations
    ]
    return tuple(one for one in found if one.graphs)


def _names(folders: Sequence[Path]) -> dict[Path, str]:
    """Returns a name for each folder: the shortest end of its path that is unique."""
    parts = {folder: folder.resolve().parts for folder in folders}
    for count in range(1, max(map(len, parts.values())) + 1):
        names = {folder: "/".join(ends[-count:]) for folder, ends in parts.items()}
        if len(set(names.values())) == len(folders):
            return names
    return {folder: f"{number}" for number, folder in enumerate(folders, start=1)}


def comparison_page(
    conversions: Mapping[str, ManifestSummary],
    evaluations: Mapping[str, Evaluations] = MappingProxyType({}),
) -> str:
    """Returns the page as HTML, of two or more conversions by name, and their evaluations."""
    # Here colours stand for folders, not graphs; the first one is grey.
    columns = {
        name: [Graph(g.record, g.base, number, g.speed) for g in conversion.graphs]
        for number, (name, conversion) in enumerate(conversions.items(), start=1)
    }
    verified = [g for graphs in columns.values() for g in graphs if g.fidelity is not None]
    best = frontier(verified)
    folder_of = {graph: name for name, graphs in columns.items() for graph in graphs}
    values: dict[str, Any] = {
        "conversions": list(conversions.items()),
        "rows": _rows(columns),
        "best": [(folder_of[graph], graph) for graph in best],
        "plot": None,
        "evaluated": _evaluated(columns, evaluations),
        "value_text": value_text,
        "properties": _properties(list(conversions.values())),
        "measures": " or ".join(dict.fromkeys(c.manifest.measure for c in conversions.values())),
        "remarks": _remarks(conversions),
    }
    if verified:
        values["plot"] = markup(plots.size_against_fidelity(verified, best, lambda g: g.label))
    return render("compare.html", values)


def _evaluated(
    columns: Mapping[str, Sequence[Graph]], evaluations: Mapping[str, Evaluations]
) -> list[tuple[str, DataRecord, list[tuple[str, list[FigureRecord | None]]]]]:
    """Returns the evaluations on the same data, of graphs that have not changed since them.

    For each data it is a heading, and for each label the main figure by folder.
    """
    data = {e.data.digest: e for found in evaluations.values() for e in found.evaluations}
    tables = []
    for digest, first in data.items():
        rows = []
        for label, graphs in _rows(columns):
            figures = [
                _main_figure(evaluations.get(name), digest, graph)
                for name, graph in zip(columns, graphs, strict=True)
            ]
            if any(figures):
                rows.append((label, figures))
        if rows:
            tables.append((first.graphs[0].main.name, first.data, rows))
    # Data may change and keep its name.
    headings = numbered([f"{figure} on {record.name}" for figure, record, _ in tables])
    return [(words, *table[1:]) for words, table in zip(headings, tables, strict=True)]


def _main_figure(
    found: Evaluations | None, digest: str, graph: Graph | None
) -> FigureRecord | None:
    for evaluation in found.evaluations if found is not None else ():
        for one in evaluation.graphs:
            is_same = graph is not None and graph.record.sha256 in one.digests
            if evaluation.data.digest == digest and is_same:
                return one.main
    return None


def _rows(columns: Mapping[str, Sequence[Graph]]) -> list[tuple[str, list[Graph | None]]]:
    """Returns the graphs of each label, one per folder; None if a folder has no such graph."""
    labels = dict.fromkeys(graph.label for graphs in columns.values() for graph in graphs)
    found = [{graph.label: graph for graph in graphs} for graphs in columns.values()]
    return [(label, [graphs.get(label) for graphs in found]) for label in labels]


def _properties(conversions: Sequence[ManifestSummary]) -> list[tuple[str, list[str], bool]]:
    """Returns rows of the conversions' properties: title, values, whether they differ."""
    manifests = [conversion.manifest for conversion in conversions]
    packages = dict.fromkeys(name for manifest in manifests for name in manifest.stack)
    readers: dict[str, Callable[[Manifest], Any]] = {
        "kind": lambda m: m.kind,
        "model": lambda m: ManifestSummary(m).title,
        "revision": lambda m: (m.source.revision or "a local folder")[:14],
        "digest of the files": lambda m: m.source.digest[:12],
        "pooling": lambda m: " + ".join(m.source.pooling) or "–",
        "dimension": lambda m: m.source.dimension or "–",
        "embconvert": lambda m: m.tool.version,
        **{name: partial(_version, name) for name in packages},
        "texts compared": lambda m: m.compared_texts,
        "processor": lambda m: f"{m.machine.processor}, {m.machine.cpus} CPUs",
    }
    rows = []
    for title, read in readers.items():
        found = [str(read(manifest)) for manifest in manifests]
        rows.append((title, found, len(set(found)) > 1))
    return rows


def _version(package: str, manifest: Manifest) -> str:
    return manifest.stack.get(package, "–")


def _remarks(named: Mapping[str, ManifestSummary]) -> list[str]:
    """Returns warnings about figures that cannot be compared."""
    remarks = []
    conversions = list(named.values())
    if len({conversion.manifest.kind for conversion in conversions}) > 1:
        remarks.append("These models are of different kinds: their figures cannot be compared.")
    manifests = [conversion.manifest for conversion in conversions]
    if len({manifest.verification.texts_digest for manifest in manifests}) > 1:
        remarks.append("They were verified on different texts: their cosines cannot be compared.")
    machines = {(m.machine.processor, m.machine.cpus) for m in manifests}
    if len(machines) > 1:
        remarks.append(
            "They were made on different machines: texts/s cannot be compared, and speeds only "
            "if the machines are similar."
        )
    else:
        remarks.append(
            "Their speeds are from different runs: compare each with its own folder's float32, and "
            "measure both on one machine with embconvert bench."
        )
    busy = [
        f"{name} {speeds.waited:.0%}"
        for name, speeds in ((name, c.manifest.speeds) for name, c in named.items())
        if speeds is not None and speeds.waited is not None and speeds.busy_words
    ]
    if busy:
        remarks.append(
            "The machine was busy while speeds were measured; other work had the CPU for this "
            f"share of the time: {', '.join(busy)}."
        )
    if not all(conversion.all_verified for conversion in conversions):
        remarks.append("Some files were not verified; the plot does not show them.")
    return remarks
