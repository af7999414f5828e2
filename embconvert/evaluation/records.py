"""The records of `evaluation.json`; `data/evaluation.schema.json` is generated from them."""

import json
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import MaxLen, MinLen

from embconvert.evaluation.data import DataForm
from embconvert.models.choices import Precision
from embconvert.models.constraints import (
    Commit,
    Cosine,
    Count,
    GraphSize,
    Name,
    Points,
    Positive,
    Record,
    Sha256,
    Text,
)
from embconvert.models.json_records import adapter, as_json
from embconvert.models.routes import RouteName

EVALUATION_FILE = "evaluation.json"
EVALUATION_PAGE = "evaluation.html"
#: The source's row, beside those of graphs.
SOURCE_ROW = "source"
#: Evaluations that a folder keeps; the oldest go.
MAX_EVALUATIONS = 100


@dataclass(frozen=True, kw_only=True)
class DataRecord(Record):
    """What graphs were compared on.

    Attributes:
        name: Of the file or folder.
        form: What it is.
        digest: sha256 over its content.
        queries: Number of queries; of pairs and triples, of first texts.
        documents: Number of documents; of pairs and triples, of other texts.
        remarks: How it was read, and what was left out.
    """

    name: Name
    form: DataForm
    digest: Sha256
    queries: Positive
    documents: Positive
    remarks: Annotated[tuple[Text, ...], MaxLen(100)] = ()


@dataclass(frozen=True, kw_only=True)
class FigureRecord(Record):
    """A figure of a graph, and how much lower it is than that of the baseline.

    Attributes:
        name: Such as nDCG@10.
        value: The figure; 1 is best.
        loss: In points, which are hundredths; below 0 if the graph is better.
        low: Lower end of the loss's 95% interval, by paired bootstrap.
        high: Upper end of the interval.
        verdict: The loss in words.
    """

    name: Name
    value: Cosine
    loss: Points
    low: Points
    high: Points
    verdict: Name


@dataclass(frozen=True, kw_only=True)
class EvaluatedGraph(Record):
    """The figures of a graph.

    Attributes:
        path: Of the graph in its folder, or "source".
        precision: Of its weights.
        size_bytes: Of the graph with its external data; None for the source.
        digests: sha256 of the graph and its external data, for each route; empty for the source.
        figures: The main one first.
    """

    path: Name
    precision: Precision
    size_bytes: GraphSize | None
    digests: Annotated[tuple[Sha256, ...], MaxLen(1000)]
    figures: Annotated[tuple[FigureRecord, ...], MinLen(1), MaxLen(100)]

    @property
    def main(self) -> FigureRecord:
        """The figure by which the data is judged first."""
        return self.figures[0]


@dataclass(frozen=True, kw_only=True)
class Evaluation(Record):
    """The graphs of a folder on some data.

    Attributes:
        folder: Of the graphs, as on the command line; None in `evaluation.json`, which lies there.
        model_id: Of the source, as in the manifest.
        revision: The hub's commit of the source; None for a local folder.
        routes: Of an asymmetric model, those of queries and documents; empty for others.
        data: What they were compared on.
        baseline: The path of the graph that others are compared with.
        query_prompt: What was put before queries.
        document_prompt: What was put before documents.
        similarity: How vectors were compared; None for scores of pairs.
        graphs: The baseline first.
    """

    folder: Text | None = None
    model_id: Text
    revision: Commit | None
    routes: Annotated[tuple[RouteName, ...], MaxLen(2)] = ()
    data: DataRecord
    baseline: Name
    query_prompt: Text = ""
    document_prompt: Text = ""
    similarity: Name | None
    graphs: Annotated[tuple[EvaluatedGraph, ...], MinLen(1), MaxLen(1000)]

    @property
    def units(self) -> Count:
        return self.data.queries


@dataclass(frozen=True, kw_only=True)
class Evaluations(Record):
    """The content of `evaluation.json`, and what `embconvert evaluate --json` prints."""

    schema_version: Literal[1] = 1
    evaluations: Annotated[tuple[Evaluation, ...], MaxLen(MAX_EVALUATIONS)]

    def dropped_by(self, evaluation: Evaluation) -> list[str]:
        """The graphs whose figures with_newer() drops, as the new evaluation lacks them."""
        new = {graph.path for graph in evaluation.graphs}
        return [
            graph.path
            for one in self.evaluations
            if one.data.digest == evaluation.data.digest
            for graph in one.graphs
            if graph.path not in new
        ]

    def with_newer(self, evaluation: Evaluation) -> "Evaluations":
        """Returns them with another one, which replaces that of the same data."""
        others = [e for e in self.evaluations if e.data.digest != evaluation.data.digest]
        return Evaluations(evaluations=(*others, evaluation)[-MAX_EVALUATIONS:])


def as_text(evaluations: Evaluations) -> str:
    """Returns the content of the file."""
    return json.dumps(as_json(evaluations), indent=2, ensure_ascii=False) + "\n"


def parse_evaluations(content: bytes) -> Evaluations:
    """Reads the content of a file; raises ValueError if as_text() did not write it."""
    return adapter(Evaluations).validate_json(content, strict=True)
