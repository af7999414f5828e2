"""Conversions side by side on one page: `embconvert compare`."""

import contextlib
import stat
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from embconvert import __version__
from embconvert.errors import OutputError
from embconvert.folder.disk import output_errors
from embconvert.folder.published import published_manifest
from embconvert.manifest import Manifest
from embconvert.regular_files import kind_of, replace_file
from embconvert.reporting import plots
from embconvert.reporting.summary import Conversion, Graph, frontier
from embconvert.reporting.templates import markup, page_style, render
from embconvert.request.records import CompareRequest, Finished


def compare(request: CompareRequest) -> Finished:
    """Writes the page that compares folders.

    Raises:
        UsageError: No conversion published one of the folders.
        SourceError: A manifest is broken.
        OutputError: The page cannot be written.
    """
    manifests = {folder: published_manifest(folder) for folder in request.folders}
    names = _names(request.folders)
    conversions = {names[f]: Conversion(manifest) for f, manifest in manifests.items()}
    page = comparison_page(conversions)
    path = request.output
    with output_errors(path, "choose another --output"):
        _refuse_other_than_file(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, page.encode("utf-8", "replace"))
    return Finished(text=str(path))


def _refuse_other_than_file(path: Path) -> None:
    """Refuses to replace what is no file, and to write where a link leads.

    Links in the root folder are the system's own, as macOS' /tmp is.

    Raises:
        OutputError: There is a folder, a link or the like; or a folder above is a link.
    """
    if path.is_dir() and not path.is_symlink():
        raise OutputError(f"{path} is a folder", f"write: --output {path / 'compare.html'}")
    for above in path.parents:
        if above.is_symlink() and above.absolute().parent != Path("/"):
            raise OutputError(
                f"{above} is a link, and --output {path} would be written where it leads",
                f"write: --output {path.parent.resolve() / path.name}",
            )
    with contextlib.suppress(FileNotFoundError):
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode):
            raise OutputError(
                f"--output {path} is {kind_of(mode)}, which is not replaced",
                "remove it, or choose another --output",
            )


def _names(folders: Sequence[Path]) -> dict[Path, str]:
    """Returns what each folder is called: its name, or its path where names would be the same."""
    names = {folder: folder.resolve().name for folder in folders}
    if len(set(names.values())) == len(folders):
        return names
    return {folder: str(folder) for folder in folders}


def comparison_page(conversions: Mapping[str, Conversion]) -> str:
    """Returns the page as HTML.

    Args:
        conversions: Two or more, by what they are called.
    """
    # Here a colour is a folder's, not a graph's; the first one is grey.
    columns = {
        name: [Graph(g.record, g.base, number) for g in conversion.graphs]
        for number, (name, conversion) in enumerate(conversions.items(), start=1)
    }
    verified = [g for graphs in columns.values() for g in graphs if g.fidelity is not None]
    best = frontier(verified)
    folder_of = {graph: name for name, graphs in columns.items() for graph in graphs}
    values: dict[str, Any] = {
        "style": page_style(),
        "tool_version": __version__,
        "conversions": list(conversions.items()),
        "rows": _rows(columns),
        "best": [(folder_of[graph], graph) for graph in best],
        "plot": None,
        "facts": _facts(list(conversions.values())),
        "measures": " or ".join(dict.fromkeys(c.manifest.measure for c in conversions.values())),
        "remarks": _remarks(list(conversions.values())),
    }
    if verified:
        values["plot"] = markup(plots.size_against_fidelity(verified, best, lambda g: g.label))
    return render("compare.html", values)


def _rows(columns: Mapping[str, Sequence[Graph]]) -> list[tuple[str, list[Graph | None]]]:
    """Returns the graphs of each label, one for each folder; None where it has no such graph."""
    labels = dict.fromkeys(graph.label for graphs in columns.values() for graph in graphs)
    found = [{graph.label: graph for graph in graphs} for graphs in columns.values()]
    return [(label, [graphs.get(label) for graphs in found]) for label in labels]


def _facts(conversions: Sequence[Conversion]) -> list[tuple[str, list[str], bool]]:
    """Returns what the conversions were made of: a title, the values, and whether they differ."""
    manifests = [conversion.manifest for conversion in conversions]
    packages = dict.fromkeys(name for manifest in manifests for name in manifest.stack)
    readers: dict[str, Callable[[Manifest], Any]] = {
        "kind": lambda m: m.kind,
        "model": lambda m: m.source.model_id,
        "revision": lambda m: m.source.revision or "a local folder",
        "digest of its files": lambda m: m.source.digest[:12],
        "pooling": lambda m: " + ".join(m.source.pooling) or "–",
        "dimension": lambda m: m.source.dimension or "–",
        "embconvert": lambda m: m.tool.version,
        **{name: partial(_version, name) for name in packages},
        "texts compared": lambda m: m.verification.texts,
        "processor": lambda m: f"{m.machine.processor}, {m.machine.cpus} CPUs",
    }
    facts = []
    for title, read in readers.items():
        found = [str(read(manifest)) for manifest in manifests]
        facts.append((title, found, len(set(found)) > 1))
    return facts


def _version(package: str, manifest: Manifest) -> str:
    return manifest.stack.get(package, "–")


def _remarks(conversions: Sequence[Conversion]) -> list[str]:
    """Returns what a reader must know before comparing figures."""
    remarks = []
    if len({conversion.manifest.kind for conversion in conversions}) > 1:
        remarks.append("They are models of different kinds: their figures do not compare.")
    manifests = [conversion.manifest for conversion in conversions]
    if len({manifest.verification.texts_digest for manifest in manifests}) > 1:
        remarks.append("They were verified on different texts: their cosines do not compare.")
    machines = {(m.machine.processor, m.machine.cpus) for m in manifests}
    if len(machines) > 1:
        remarks.append(
            "They were made on different machines: texts a second do not compare, speeds do only "
            "as far as their machines are alike."
        )
    if not all(conversion.all_verified for conversion in conversions):
        remarks.append("Some files were not verified, and are in no plot.")
    return remarks
