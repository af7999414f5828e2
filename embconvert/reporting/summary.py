"""What a manifest says, as the page, the model card and the comparison show it; no files."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from embconvert.fidelity.figures import HISTOGRAM_EDGES, Fidelity, LayerCosine
from embconvert.manifest import ArtifactRecord, Manifest
from embconvert.models.choices import OptimizationLevel, Precision

#: Float32 rounding; below this distance (1 - cosine) embeddings count as the same.
SAME = HISTOGRAM_EDGES[0]


@dataclass(frozen=True, eq=False)
class Graph:
    """One published graph beside the exported one.

    Attributes:
        record: The manifest's.
        base: The exported graph's; None when it is not in the folder.
        number: Its place among the folder's graphs, which gives it its colour.
    """

    record: ArtifactRecord
    base: ArtifactRecord | None
    number: int

    @property
    def label(self) -> str:
        """What tells it from the folder's other graphs, short."""
        record = self.record
        if record.precision is not Precision.FLOAT32:
            return str(record.precision)
        if record.optimization_level is OptimizationLevel.NONE:
            return "exported"
        return f"optimized, level {int(record.optimization_level)}"

    @property
    def size_mb(self) -> float:
        """With its external data, in units of a million bytes."""
        return self.record.total_size_bytes / 1e6

    @property
    def share(self) -> float | None:
        """Size, the exported graph's being 1."""
        return self.record.total_size_bytes / self.base.total_size_bytes if self.base else None

    @property
    def fidelity(self) -> Fidelity | None:
        """None when it was not verified."""
        return self.record.fidelity

    @property
    def speed(self) -> float | None:
        """Throughput, the exported graph's being 1."""
        if self.fidelity is None or self.base is None or self.base.fidelity is None:
            return None
        return self.fidelity.texts_per_second / self.base.fidelity.texts_per_second

    @property
    def is_same(self) -> bool:
        """Whether it gives the reference's embeddings but for rounding."""
        return self.fidelity is not None and self.fidelity.is_same

    @cached_property
    def losses(self) -> list[tuple[LayerCosine, float]]:
        """Each layer with what it loses: its distance less that of the layer before.

        It is negative where a layer (a normalization, say) brings the hidden states nearer.
        """
        layers = self.fidelity.layers if self.fidelity else ()
        before = (1.0, *(layer.cosine for layer in layers))
        return [(layer, b - layer.cosine) for layer, b in zip(layers, before, strict=False)]

    @property
    def worst_layers(self) -> list[tuple[LayerCosine, float]]:
        """The three layers that lose most, the worst first."""
        losing = [entry for entry in self.losses if entry[1] > SAME]
        return sorted(losing, key=lambda entry: -entry[1])[:3]


@dataclass(frozen=True, eq=False)
class Conversion:
    """A folder's graphs, in the manifest's order."""

    manifest: Manifest

    @cached_property
    def graphs(self) -> list[Graph]:
        """Every graph."""
        records = self.manifest.artifacts
        base = next((record for record in records if record.made_from is None), None)
        return [Graph(record, base, number) for number, record in enumerate(records)]

    @property
    def verified(self) -> list[Graph]:
        """Those that were compared with the source."""
        return [graph for graph in self.graphs if graph.fidelity is not None]

    @property
    def lossy(self) -> list[Graph]:
        """Those whose embeddings differ from the reference's by more than rounding."""
        return [graph for graph in self.verified if not graph.is_same]

    @property
    def all_verified(self) -> bool:
        """Whether every graph was compared with the source and passed."""
        return len(self.verified) == len(self.graphs)

    @property
    def smallest(self) -> Graph | None:
        """The graph to serve where size matters."""
        return min(self.graphs, key=lambda g: g.record.total_size_bytes, default=None)

    @property
    def fastest(self) -> Graph | None:
        """The verified graph with the highest throughput."""
        graphs = [graph for graph in self.verified if graph.speed is not None]
        return max(graphs, key=lambda g: g.speed or 0, default=None)

    @property
    def title(self) -> str:
        """The model's id on the hub; of a local folder, its name."""
        model_id = self.manifest.source.model_id
        if self.manifest.source.revision is not None:
            return model_id
        return model_id.rstrip("/").rpartition("/")[2]

    @property
    def oldest_runtime(self) -> str:
        """The oldest ONNX Runtime that runs every graph."""
        versions = [graph.record.min_onnxruntime for graph in self.graphs]
        return max(versions, key=lambda v: tuple(map(int, v.split("."))), default="–")

    @property
    def frontier(self) -> list[Graph]:
        """The verified graphs that no other beats in both size and mean cosine, smallest first."""
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
