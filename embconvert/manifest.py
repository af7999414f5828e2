"""What the manifest says, to and from JSON; numbers and words only, no files.

The format is versioned; `data/manifest.schema.json` is its JSON Schema.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from embconvert.architectures import FUSED_ATTENTION
from embconvert.config import Layout, OptimizationLevel, Precision
from embconvert.fidelity.figures import Fidelity
from embconvert.foreign_text import json_text
from embconvert.kinds import KINDS, Kind, Measure
from embconvert.late_interaction import LateInteraction
from embconvert.model import FileRecord, Fusion, KeptNode, OnnxArtifact, TensorInfo

SCHEMA_VERSION = 1
MANIFEST_FILE = "embconvert.json"
#: What people look at.
REPORT_FILE = "report.html"
CARD_FILE = "README.md"
PAGES = (REPORT_FILE, CARD_FILE)


@dataclass(frozen=True, kw_only=True)
class ArtifactRecord:
    """What is known of one published graph.

    Attributes:
        path: Relative to the folder.
        sha256: Of the graph file.
        size_bytes: Of the graph file.
        external_data: The file that holds its weights, its path relative to the folder; None
            when they are in the graph.
        precision: Of the weights.
        optimization_level: Of the graph.
        opset: Of ONNX's own domain.
        inputs: In order.
        outputs: In order.
        operators: Counts; operators outside ONNX's own domain carry their domain's name.
        fusions: What became of attention, norms and the like; none but of an optimized graph.
        kept: The nodes that a quantization left in float32, and why.
        method: Which of the ways to make it worked, as "trace".
        settings: The options, recipes among them, that decide its bytes; see plan.Step.settings.
        key: What it was made of, and how; see plan.Step.key.
        made_from: sha256 of the graph that it was made of; None for an export.
        fidelity: None when validation was skipped.
        duration_s: To make it, without its verification.
        peak_memory_bytes: Of the process while making it.
        min_onnxruntime: The oldest release that runs it.
    """

    path: str
    sha256: str
    size_bytes: int
    external_data: FileRecord | None
    precision: Precision
    optimization_level: OptimizationLevel
    opset: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    operators: Mapping[str, int]
    fusions: tuple[Fusion, ...] = ()
    kept: tuple[KeptNode, ...] = ()
    method: str
    settings: Mapping[str, Any]
    key: str
    made_from: str | None
    fidelity: Fidelity | None
    duration_s: float
    peak_memory_bytes: int
    min_onnxruntime: str

    def runs_on(self, onnxruntime: tuple[int, int] | None) -> bool:
        """Whether a release of ONNX Runtime runs it; None stands for the newest."""
        major, minor = map(int, self.min_onnxruntime.split("."))
        return onnxruntime is None or (major, minor) <= onnxruntime

    @property
    def digest(self) -> str:
        """As OnnxArtifact.digest."""
        return self.sha256 + (self.external_data.sha256 if self.external_data else "")

    @property
    def total_size_bytes(self) -> int:
        """Graph and external data together."""
        return self.size_bytes + (self.external_data.size_bytes if self.external_data else 0)

    def artifact(self, folder: Path) -> OnnxArtifact:
        """Returns the graph in a folder; record.make_record is the way back."""
        external = self.external_data
        if external is not None:  # the graph names it relative to itself
            external = replace(external, path=external.path.rpartition("/")[2])
        return OnnxArtifact(
            path=folder / self.path,
            sha256=self.sha256,
            size_bytes=self.size_bytes,
            external_data=external,
            opset=self.opset,
            inputs=self.inputs,
            outputs=self.outputs,
            operators=self.operators,
            min_onnxruntime=self.min_onnxruntime,
        )

    @property
    def fused_operators(self) -> dict[str, int]:
        """The operators that are not ONNX's own, and ONNX's attention."""
        return {n: c for n, c in self.operators.items() if "." in n or n in FUSED_ATTENTION}

    def as_json(self) -> list[dict[str, Any]]:
        """Returns the manifest's entries: of the graph, and of its external data."""
        entry: dict[str, Any] = {
            "kind": "onnx",
            "path": self.path,
            "sha256": self.sha256,
            "size_bytes": self.size_bytes,
            "external_data": self.external_data.path if self.external_data else None,
            "precision": str(self.precision),
            "optimization_level": int(self.optimization_level),
            "opset": self.opset,
            "inputs": [_tensor_json(t) for t in self.inputs],
            "outputs": [_tensor_json(t) for t in self.outputs],
            "operators": dict(self.operators),
            "fused_operators": self.fused_operators,
            "fusions": [_fusion_json(fusion) for fusion in self.fusions],
            "kept": [asdict(node) for node in self.kept],
            "method": self.method,
            "settings": dict(self.settings),
            "key": self.key,
            "made_from": self.made_from,
            "validation": "passed" if self.fidelity else "skipped",
            "fidelity": fidelity_json(self.fidelity) if self.fidelity else None,
            "duration_s": round(self.duration_s, 3),
            "peak_memory_bytes": self.peak_memory_bytes,
            "min_onnxruntime": self.min_onnxruntime,
        }
        if self.external_data is None:
            return [entry]
        return [entry, {"kind": "external_data", **asdict(self.external_data)}]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an output folder holds and how it came to be.

    Attributes:
        tool_version: embconvert's.
        layout: How the folder looks.
        source: Model id, revision and figures of the source.
        source_files: Its files.
        stack: Versions of the libraries.
        machine: Where it was made; may differ between equal runs.
        verification: What graphs were compared on.
        artifacts: The graphs.
        files: The other files of the folder.
        commands: The command lines that made the graphs, the first first.
        search: What `--quantize auto` tried, and for what; None where it was not asked for.
        pages: What people look at, the report and the model card: made of the rest of the
            manifest, times and machine included, so they may differ between equal runs.
    """

    tool_version: str
    layout: Layout = Layout.HUB
    source: Mapping[str, Any]
    source_files: tuple[FileRecord, ...]
    stack: Mapping[str, str]
    machine: Mapping[str, Any]
    verification: Mapping[str, Any]
    artifacts: tuple[ArtifactRecord, ...]
    files: tuple[FileRecord, ...]
    commands: tuple[str, ...] = ()
    search: Mapping[str, Any] | None = None
    pages: tuple[FileRecord, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Returns the manifest as plain JSON values."""
        return {
            "schema_version": SCHEMA_VERSION,
            "tool": {
                "name": "embconvert",
                "version": self.tool_version,
                "commands": list(self.commands),
            },
            "layout": str(self.layout),
            "source": {**self.source, "files": [asdict(f) for f in self.source_files]},
            "stack": dict(self.stack),
            "machine": dict(self.machine),
            "verification": dict(self.verification),
            "artifacts": [entry for a in self.artifacts for entry in a.as_json()],
            "files": [asdict(f) for f in self.files],
            "search": dict(self.search) if self.search else None,
            "pages": [asdict(f) for f in self.pages],
        }

    @property
    def kind(self) -> Kind:
        """What kind of model it is of."""
        return Kind(self.source.get("kind", Kind.EMBEDDING))

    @property
    def late_interaction(self) -> LateInteraction | None:
        """How queries and documents are read; None for models of other kinds."""
        value = self.source.get("late_interaction")
        return LateInteraction.parse(value) if value is not None else None

    @property
    def measure(self) -> Measure:
        """How near its graphs are to the source is told by this."""
        return KINDS[self.kind].measure

    def as_text(self) -> str:
        """Returns the manifest as it is written to its file."""
        return json_text(self.as_json()) + "\n"

    def describes_the_same(self, other: "Manifest") -> bool:
        """Whether another manifest is of a folder with the same files, laid out the same way."""
        return (self.layout, self.artifacts, self.files) == (
            other.layout,
            other.artifacts,
            other.files,
        )

    def records(self) -> list[FileRecord]:
        """Returns every file that the manifest lists."""
        graphs = [
            FileRecord(path=graph.path, sha256=graph.sha256, size_bytes=graph.size_bytes)
            for graph in self.artifacts
        ]
        external = [graph.external_data for graph in self.artifacts if graph.external_data]
        return [*graphs, *external, *self.files, *self.pages]

    def paths(self) -> set[str]:
        """Returns the paths of every file that the manifest lists."""
        return {record.path for record in self.records()}

    def sizes(self) -> dict[str, int]:
        """Returns the size in bytes of every file that the manifest lists, but for the pages."""
        pages = {page.path for page in self.pages}
        return {r.path: r.size_bytes for r in self.records() if r.path not in pages}


def _fusion_json(fusion: Fusion) -> dict[str, Any]:
    left = [{"reason": reason, "count": count} for reason, count in fusion.left.items()]
    return {"kind": fusion.kind, "found": fusion.found, "fused": fusion.fused, "left": left}


#: The figures of a fidelity that are called after its measure.
MEASURED = ("mean_cosine", "p1_cosine", "min_cosine", "batch_cosine")
#: Those that only models of some kinds have.
OF_SOME_KINDS = ("active_dims", "active_overlap", "lowest_token_cosine")


def fidelity_json(fidelity: Fidelity) -> dict[str, Any]:
    """Returns figures as plain JSON values, called after their measure."""
    value = asdict(fidelity)
    for name in OF_SOME_KINDS:
        if value[name] is None:
            del value[name]
    measure = value.pop("measure")
    if measure is Measure.COSINE:
        return value
    del value["token_mean_cosine"]
    for name in MEASURED:
        value[name.replace("cosine", measure)] = value.pop(name)
    value["worst_texts"] = [
        {"text": entry["text"], str(measure): entry["cosine"]} for entry in value["worst_texts"]
    ]
    return value


def _tensor_json(tensor: TensorInfo) -> dict[str, Any]:
    return {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape)}
