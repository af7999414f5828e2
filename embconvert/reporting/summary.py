"""A manifest as the pages show it; reads no files."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from embconvert.fidelity.figures import HISTOGRAM_EDGES, Fidelity, LayerCosine
from embconvert.manifest import ArtifactRecord, Manifest
from embconvert.models.choices import Operators, OptimizationLevel, Precision
from embconvert.models.compat import newest_of
from embconvert.reporting.table import speed_cell
from embconvert.speed.records import GraphSpeed, Speedup, Verdict

#: Below this distance (1 - cosine), only float32 rounding differs.
SAME = HISTOGRAM_EDGES[0]


@dataclass(frozen=True, eq=False)
class Graph:
    """A published graph, compared with the exported one.

    Attributes:
        base: Record of the exported graph; None if it is not in the folder.
        number: Index among the folder's graphs; decides the colour.
        speed: None if it was not measured.
    """

    record: ArtifactRecord
    base: ArtifactRecord | None
    number: int
    speed: GraphSpeed | None

    @property
    def label(self) -> str:
        """Short and unique in the folder."""
        record = self.record
        words = "exported"
        if record.precision is not Precision.FLOAT32:
            words = str(record.precision)
        elif record.optimization_level is not OptimizationLevel.NONE:
            words = f"optimized, level {int(record.optimization_level)}"
        return ", ".join([words, *map(str, record.forms)])

    @property
    def size_mb(self) -> float:
        """Of the graph with its external data, in 10^6 bytes."""
        return self.record.total_size_bytes / 1e6

    @property
    def share(self) -> float | None:
        """Size relative to the exported graph."""
        return self.record.total_size_bytes / self.base.total_size_bytes if self.base else None

    @property
    def fidelity(self) -> Fidelity | None:
        """None if it was not verified."""
        return self.record.fidelity

    @property
    def speedup(self) -> Speedup | None:
        """Speed relative to the exported graph; None for that graph, or if not measured."""
        return self.speed.speedup if self.speed else None

    @property
    def speed_text(self) -> str:
        """Speed relative to the exported graph, in words."""
        return speed_cell(self.record, self.speed).replace("-", "–")

    @property
    def speed_words(self) -> str:
        """The speed with its unit, where no heading names it."""
        is_known = self.speedup is None or self.speedup.is_measurable
        return self.speed_text if is_known else f"speed {self.speed_text}"

    @property
    def rates(self) -> str:
        """Texts per second by length, in words."""
        return self.speed.rates if self.speed else "–"

    @property
    def is_same(self) -> bool:
        return self.fidelity is not None and self.fidelity.is_same

    @cached_property
    def losses(self) -> list[tuple[LayerCosine, float]]:
        """Each layer with its loss: its distance minus that of the layer before.

        Negative if a layer, such as a normalization, reduces the distance.
        """
        layers = self.fidelity.layers if self.fidelity else ()
        before = (1.0, *(layer.cosine for layer in layers))
        return [(layer, b - layer.cosine) for layer, b in zip(layers, before, strict=False)]

    @property
    def worst_layers(self) -> list[tuple[LayerCosine, float]]:
        """The three layers with the largest loss, the worst first."""
        losing = [entry for entry in self.losses if entry[1] > SAME]
        return sorted(losing, key=lambda entry: -entry[1])[:3]


@dataclass(frozen=True, eq=False)
class ManifestSummary:
    """A folder's graphs, in the manifest's order."""

    manifest: Manifest

    @cached_property
    def graphs(self) -> list[Graph]:
        records, base = self.manifest.artifacts, self.manifest.exported
        speeds = self.manifest.speeds
        return [
            Graph(record, base, number, speeds.of(record.path) if speeds else None)
            for number, record in enumerate(records)
        ]

    @property
    def verified(self) -> list[Graph]:
        """The graphs that were compared with the source."""
        return [graph for graph in self.graphs if graph.fidelity is not None]

    @property
    def lossy(self) -> list[Graph]:
        """The graphs that differ from the reference by more than rounding."""
        return [graph for graph in self.verified if not graph.is_same]

    @property
    def all_verified(self) -> bool:
        return len(self.verified) == len(self.graphs)

    @cached_property
    def recommended(self) -> tuple[Graph, str] | None:
        """The graph to take, and why; None where there is none."""
        found = self.manifest.recommended
        if found is None:
            return None
        graph = next(graph for graph in self.graphs if graph.record.path == found.path)
        return graph, found.reason

    @property
    def smallest(self) -> Graph | None:
        return min(self.graphs, key=lambda g: g.record.total_size_bytes, default=None)

    @property
    def fastest(self) -> Graph | None:
        """The verified graph that is faster than the exported one, and most.

        Of those that noise does not tell apart, the smallest.
        """
        faster = [
            (graph, graph.speedup)
            for graph in self.verified
            if graph.speedup is not None and graph.speedup.verdict is Verdict.FASTER
        ]
        if not faster:
            return None
        _, most = max(faster, key=lambda entry: entry[1].times)
        return min(
            (graph for graph, speedup in faster if speedup.may_reach(most)),
            key=lambda graph: graph.record.total_size_bytes,
        )

    @property
    def title(self) -> str:
        """Model id on the hub, or name of the local folder."""
        source = self.manifest.source
        model_id, revision = source.model_id, source.revision
        if source.given is not None:
            model_id, revision = source.given.adapter, source.given.revision
        if revision is not None:
            return model_id
        return model_id.rstrip("/").rpartition("/")[2]

    @property
    def standard(self) -> list[Graph]:
        """The graphs that were written in ONNX's own operators because the user wanted it."""
        wanted = Operators.STANDARD
        return [g for g in self.graphs if g.record.settings.get("operators") == wanted]

    @property
    def oldest_runtime(self) -> str:
        """The oldest ONNX Runtime that runs every graph."""
        releases = [graph.record.min_onnxruntime for graph in self.graphs]
        return newest_of(*releases) if releases else "–"

    @property
    def frontier(self) -> list[Graph]:
        return frontier(self.verified)


def frontier(graphs: Sequence[Graph]) -> list[Graph]:
    """Returns the graphs that no other beats in both size and mean cosine, smallest first."""
    best: list[Graph] = []
    for graph in sorted(graphs, key=lambda g: (g.record.total_size_bytes, -_mean_cosine(g))):
        if not best or _mean_cosine(graph) > _mean_cosine(best[-1]) + SAME:
            best.append(graph)
    return best


def _mean_cosine(graph: Graph) -> float:
    return graph.fidelity.similarity.mean if graph.fidelity else -1.0
