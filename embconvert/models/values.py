"""The values that flow between stages."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from annotated_types import MaxLen

from embconvert.models.adapters import LoraSettings
from embconvert.models.architectures import Architecture, text_settings
from embconvert.models.constraints import Count, Identifier, Name, Positive, Record, Text
from embconvert.models.forms import FileForm, PaddingRecord
from embconvert.models.kinds import HEAD_FILES, KINDS, Kind
from embconvert.models.other_inputs import other_inputs
from embconvert.models.reranker_templates import NextToken
from embconvert.models.routes import RoutedChain
from embconvert.models.source_records import AdapterRecord, FileRecord, SourceCard

#: Larger weights go to a separate file; protobuf's limit is 2 GiB for the whole message.
EXTERNAL_DATA_THRESHOLD_BYTES = 2**31 - 2**26


@dataclass(frozen=True, kw_only=True)
class ResolvedAdapter:
    """An adapter with its files on disk and checked.

    Attributes:
        place: Its number among those inside of the model's weights; None for one with a file of
            its own.
        places: How many those are.
    """

    record: AdapterRecord
    weights: Path
    settings: LoraSettings
    place: int | None = None
    places: int = 0


#: The module of StaticFormat.TOKEN_WEIGHTS.
TOKEN_WEIGHTS = "SparseStaticEmbedding"


class StaticFormat(StrEnum):
    """How a model of static embeddings, a table without a transformer, is stored."""

    #: The module StaticEmbedding.
    SENTENCE_TRANSFORMERS = "sentence-transformers"
    #: That library's own format, such as potion's.
    MODEL2VEC = "model2vec"
    #: One weight per token instead of a vector.
    TOKEN_WEIGHTS = "token weights"


@dataclass(frozen=True, kw_only=True)
class ResolvedModel:
    """A source pinned to one revision, with its files on disk and checked.

    Attributes:
        model_id: As the user gave it.
        revision: The hub's commit; None for a local folder.
        files: Every file that the conversion may read.
        architecture: For the graph optimizer.
        max_seq_length: sentence-transformers truncates texts to so many tokens; None if it does
            not.
        modules: Class names of the modules that its files define (modules.json).
        parameters: Number of parameters, without those of parts that read no text.
        card: Not part of the digest, because it changes no graph.
        settings: The content of each settings file that the libraries get, by path; None for a
            model that may run its own code, whose files they read themselves.
        unknown_settings: Keys of those files that were dropped because they are unknown.
        static: None for a model with a transformer.
        routed: The chosen route of an asymmetric model; None for other models.
        template: How a language model scores pairs, if its modules do not say so.
        elsewhere: Where files are that are not in the folder, by path.
        home: The base model's own folder, if `folder` is that of an adapter with modules.
        written: Settings files, by path, that stand for those of code that is not run.
        tasks: The names of the adapters that such code chooses from, one for each task.
        has_inner_adapters: Whether those are inside of its weights.
    """

    model_id: str
    revision: str | None
    folder: Path
    files: tuple[FileRecord, ...]
    config: Mapping[str, Any]
    architecture: Architecture
    max_seq_length: int | None
    modules: tuple[str, ...]
    parameters: int
    card: SourceCard = field(default_factory=SourceCard)
    settings: Mapping[str, Any] | None = None
    unknown_settings: tuple[str, ...] = ()
    kind: Kind = Kind.EMBEDDING
    static: StaticFormat | None = None
    routed: RoutedChain | None = None
    adapters: tuple[ResolvedAdapter, ...] = ()
    template: NextToken | None = None
    elsewhere: Mapping[str, Path] = field(default_factory=dict)
    home: Path | None = None
    written: Mapping[str, Any] = field(default_factory=dict)
    tasks: tuple[str, ...] = ()
    has_inner_adapters: bool = False

    def path(self, file: str) -> Path:
        """Returns where one of its files is."""
        return self.elsewhere.get(file, self.folder / file)

    @property
    def has_modules(self) -> bool:
        """Whether the source defines its pooling."""
        return bool(self.modules)

    @property
    def left_out(self) -> tuple[str, ...]:
        """What it reads besides text, which no graph does; empty for a model of text."""
        return other_inputs(self.config)

    @property
    def head_files(self) -> tuple[str, ...]:
        """The files of its heads; they are converted only if its kind has heads."""
        return tuple(file.path for file in self.files if file.path in HEAD_FILES)

    @property
    def public_id(self) -> str:
        """The hub id, or `./` and a local folder's name, without its private path."""
        name = (self.home or self.folder).name
        return f"./{name}" if self.revision is None else self.model_id

    @property
    def flop_per_token(self) -> float:
        """Approximate FLOP per token: two for each weight outside the embedding table.

        A model with token logits multiplies by its embedding table, too.

        Source: https://arxiv.org/abs/2001.08361, section 2.1.
        """
        if KINDS[self.kind].has_token_logits:
            return 2.0 * self.parameters
        if self.static:
            return 2.0 * (self.architecture.hidden_size or 0)
        rows = text_settings(self.config).get("vocab_size")
        table = rows * (self.architecture.hidden_size or 0) if isinstance(rows, int) else 0
        return 2.0 * max(self.parameters - table, 0)

    @property
    def wide_values(self) -> int:
        """Values per token where the graph is widest: the vocabulary for token logits, or 0."""
        rows = text_settings(self.config).get("vocab_size")
        return rows if KINDS[self.kind].has_token_logits and isinstance(rows, int) else 0

    @property
    def digest(self) -> str:
        """One sha256 over the names and contents of all files, and those of its adapters."""
        digest = hashlib.sha256()
        for file in sorted(self.files, key=lambda f: f.path):
            digest.update(f"{file.path}\0{file.sha256}\n".encode())
        for adapter in self.adapters:
            digest.update(f"adapter\0{adapter.record.weight}\n".encode())
            if adapter.record.is_inside:
                digest.update(f"task\0{adapter.record.adapter}\n".encode())
            for file in sorted(adapter.record.files, key=lambda f: f.path):
                digest.update(f"{PurePosixPath(file.path).name}\0{file.sha256}\n".encode())
        return digest.hexdigest()


#: The type of an input or output whose graph does not name it.
UNKNOWN_TYPE = "unknown"


@dataclass(frozen=True, kw_only=True)
class TensorInfo(Record):
    """An input or output of a graph; a dynamic dimension is given by its name."""

    name: Text
    dtype: Identifier
    shape: Annotated[tuple[Count | Text, ...], MaxLen(100)]

    @property
    def numpy_type(self) -> str:
        """The name of its type in numpy, which calls two types otherwise than ONNX does."""
        return {"float": "float32", "double": "float64"}.get(self.dtype, self.dtype)


@dataclass(frozen=True, kw_only=True)
class OnnxArtifact:
    """An ONNX file on disk.

    Attributes:
        sha256: Of the graph file.
        size_bytes: Of the graph file.
        external_data: The file next to it with its weights, if they exceed 2 GB.
        operators: Counts by operator, as `Domain.Name` outside ONNX's own domain.
        forms: What it was derived to, one after the other; empty for a graph of another stage.
    """

    path: Path
    sha256: str
    size_bytes: int
    external_data: FileRecord | None
    opset: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    operators: Mapping[str, int]
    min_onnxruntime: str
    forms: tuple[FileForm, ...] = ()

    @property
    def digest(self) -> str:
        """Of the graph with its external data."""
        return self.sha256 + (self.external_data.sha256 if self.external_data else "")

    @property
    def total_size_bytes(self) -> int:
        """Of the graph and its external data."""
        return self.size_bytes + (self.external_data.size_bytes if self.external_data else 0)


@dataclass(frozen=True, kw_only=True)
class ExportedModel:
    """The plain ONNX graph of the export."""

    artifact: OnnxArtifact


@dataclass(frozen=True, kw_only=True)
class Fusion(Record):
    """How many operators of one kind, such as attention, were fused.

    Attributes:
        kind: Name of the kind.
        fused: Number of fused operators.
        left: Number of unfused operators, by reason.
    """

    kind: Name
    fused: Count
    left: Annotated[Mapping[Text, Positive], MaxLen(1000)]

    @property
    def found(self) -> int:
        return self.fused + sum(self.left.values())


@dataclass(frozen=True, kw_only=True)
class OptimizedModel:
    artifact: OnnxArtifact
    fusions: tuple[Fusion, ...] = ()


@dataclass(frozen=True, kw_only=True)
class KeptNode(Record):
    """A node that a quantization left unchanged although it changes such operators.

    Attributes:
        operator: Its type.
    """

    node: Text
    operator: Name
    reason: Text


@dataclass(frozen=True, kw_only=True)
class QuantizedModel:
    artifact: OnnxArtifact
    kept: tuple[KeptNode, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DerivedModel:
    """A file derived from a graph.

    Attributes:
        beside: Further files in its folder that belong to it; paths are relative to it.
        padding: How texts are padded to its shape; None if the shape is not fixed.
    """

    artifact: OnnxArtifact
    beside: tuple[FileRecord, ...] = ()
    padding: PaddingRecord | None = None
    remarks: tuple[str, ...] = ()


#: What a stage returns; the next one works on its artifact.
StageResult = ExportedModel | OptimizedModel | QuantizedModel | DerivedModel
