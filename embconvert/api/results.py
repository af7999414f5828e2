"""What the API returns."""

import html
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from embconvert.evaluation.records import Evaluation, FigureRecord
from embconvert.fidelity.figures import Fidelity
from embconvert.manifest import ArtifactRecord, Manifest
from embconvert.models.kinds import Measure
from embconvert.overriding import override
from embconvert.pipeline.verify_folder import CheckedGraph
from embconvert.reporting.evaluation_table import evaluation_rows, header_of
from embconvert.reporting.table import recommended_words, table_header, table_rows
from embconvert.tables import Column, html_table

_T = TypeVar("_T")


def in_folder(by_route: Mapping[str, Mapping[str, _T]]) -> dict[str, _T]:
    """Returns values of the files of each route by path in the model's folder."""
    return {
        f"{route}/{path}" if route else path: value
        for route, values in by_route.items()
        for path, value in values.items()
    }


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """A published folder. A notebook shows it as the table that the command prints.

    Attributes:
        folder: The folder, absolute.
        manifests: The content of each `embconvert.json`: under the name of its route, which is that
            of its folder in `folder`; under "" for a model without routes.
    """

    folder: Path
    manifests: Mapping[str, Manifest]

    @property
    def manifest(self) -> Manifest:
        """The content of `embconvert.json`; raises ValueError for several: see `manifests`."""
        if len(self.manifests) > 1:
            raise ValueError(f"there is one manifest for each of: {', '.join(self.manifests)}")
        return next(iter(self.manifests.values()))

    @property
    def files(self) -> Mapping[str, Path]:
        """The graphs, absolute, by their path in the folder, such as `onnx/model.onnx`."""
        return {path: self.folder / path for path in self._records}

    @property
    def figures(self) -> Mapping[str, Fidelity | None]:
        """The figures of each graph of `files`; None with `skip_validation`."""
        return {path: record.fidelity for path, record in self._records.items()}

    @property
    def recommended(self) -> Path | None:
        """The graph to use if nothing else is known, absolute; None if there is none."""
        found = self.manifest.recommended
        return None if found is None else self.folder / found.path

    @property
    def _records(self) -> Mapping[str, ArtifactRecord]:
        return in_folder(
            {name: {r.path: r for r in m.artifacts} for name, m in self.manifests.items()}
        )

    @override
    def __repr__(self) -> str:
        return f"<Conversion {str(self.folder)!r}: {', '.join(self.files)}>"

    def _repr_html_(self) -> str:
        return "".join(
            _paragraph(str(self.folder / name))
            + html_table(
                table_header(manifest.measure),
                table_rows(manifest),
            )
            + _paragraph(recommended_words(manifest))
            for name, manifest in self.manifests.items()
        )


@dataclass(frozen=True, kw_only=True)
class Verification:
    """A folder that passed. A notebook shows it as a table.

    Attributes:
        folder: The folder, absolute.
        against: Hub id or local folder of the source; None if nothing was compared.
        graphs: Each graph's record, with the figures that were measured now, by its path in the
            folder.
    """

    folder: Path
    against: str | None
    graphs: Mapping[str, CheckedGraph]

    @property
    def figures(self) -> Mapping[str, Fidelity | None]:
        """The figures of each graph by its path in the folder; None without a source."""
        return {path: graph.fidelity for path, graph in self.graphs.items()}

    @override
    def __repr__(self) -> str:
        return f"<Verification {str(self.folder)!r}: {', '.join(self.graphs)}>"

    def _repr_html_(self) -> str:
        measures = (f.similarity.measure for f in self.figures.values() if f is not None)
        header = (
            Column(title="file"),
            Column(title=f"mean {next(measures, Measure.COSINE)}"),
            Column(title="when converted"),
        )
        rows = [
            [path, _mean(graph.fidelity), _mean(graph.record.fidelity)]
            for path, graph in self.graphs.items()
        ]
        return _paragraph(str(self.folder)) + html_table(header, rows)


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """A folder's graphs on some data. A notebook shows it as the table that the command prints.

    Attributes:
        folder: The folder, absolute.
        evaluation: What was measured; the content of `evaluation.json` for this data.
    """

    folder: Path
    evaluation: Evaluation

    @property
    def figures(self) -> Mapping[str, Mapping[str, FigureRecord]]:
        """The figures of each graph by name, by its path in the folder; the baseline first."""
        return {
            graph.path: {figure.name: figure for figure in graph.figures}
            for graph in self.evaluation.graphs
        }

    @override
    def __repr__(self) -> str:
        return f"<EvaluationResult {str(self.folder)!r}: {', '.join(self.figures)}>"

    def _repr_html_(self) -> str:
        title = f"{self.folder}: {self.evaluation.data.name}"
        table = html_table(header_of(self.evaluation), evaluation_rows(self.evaluation))
        return _paragraph(title) + table


def _mean(fidelity: Fidelity | None) -> str:
    return "not compared" if fidelity is None else f"{fidelity.similarity.mean:.5f}"


def _paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"
