"""The values that flow from one stage to the next; every stage returns a new one."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import MaxLen

from embconvert.models.architectures import Architecture
from embconvert.models.choices import OptimizationLevel, Precision
from embconvert.models.constraints import (
    Count,
    Identifier,
    Name,
    Positive,
    Record,
    RelativePath,
    Sha256,
    Size,
    Text,
)
from embconvert.models.kinds import Kind

#: Weights above this go to a file of their own; protobuf's limit is 2 GiB for the whole message.
EXTERNAL_DATA_THRESHOLD_BYTES = 2**31 - 2**26


@dataclass(frozen=True, kw_only=True)
class FileRecord(Record):
    """One file of the source or of the output.

    Attributes:
        path: Relative to its folder, with forward slashes.
        sha256: Hex digest of the content.
        size_bytes: Length of the content.
    """

    path: RelativePath
    sha256: Sha256
    size_bytes: Size


@dataclass(frozen=True, kw_only=True)
class SourceCard(Record):
    """What the source's model card says that goes with the model wherever it goes.

    Attributes:
        license: An identifier of the hub's, as "apache-2.0"; None when the card names none.
        license_name: Of a licence that is "other".
        license_link: Where that one can be read.
        languages: As the card names them.
    """

    license: Name | None = None
    license_name: Name | None = None
    license_link: Name | None = None
    languages: Annotated[tuple[Name, ...], MaxLen(1000)] = ()


@dataclass(frozen=True, kw_only=True)
class ResolvedModel:
    """A source pinned to one revision, its files on disk and checked.

    Attributes:
        model_id: As the user gave it.
        revision: The hub's commit; None for a local folder.
        folder: Where the files are.
        files: Every file that the conversion may read.
        config: The model's config.json.
        architecture: What the graph optimizer must know.
        max_seq_length: Tokens after which sentence-transformers truncates; None when it doesn't.
        has_modules: Whether the source says itself how it pools (modules.json).
        parameters: How many numbers its weights are.
        card: What its model card says; no part of the digest, for it changes no graph.
        settings: What the libraries are given of each settings file, by its path; None for a model
            that may run code of its own, whose files they read themselves.
        unknown_settings: Keys of those files that were left out because nobody knows them.
        kind: What it is converted as.
    """

    model_id: str
    revision: str | None
    folder: Path
    files: tuple[FileRecord, ...]
    config: Mapping[str, Any]
    architecture: Architecture
    max_seq_length: int | None
    has_modules: bool
    parameters: int
    card: SourceCard = SourceCard()
    settings: Mapping[str, Any] | None = None
    unknown_settings: tuple[str, ...] = ()
    kind: Kind = Kind.EMBEDDING

    @property
    def flop_per_token(self) -> float:
        """About what one token costs: a product and a sum for each weight outside of the table.

        A sparse model multiplies with its table, too, for the words' logits.

        Source: https://arxiv.org/abs/2001.08361, section 2.1.
        """
        if self.kind is Kind.SPARSE:
            return 2.0 * self.parameters
        rows = self.config.get("vocab_size")
        table = rows * (self.architecture.hidden_size or 0) if isinstance(rows, int) else 0
        return 2.0 * max(self.parameters - table, 0)

    @property
    def wide_values(self) -> int:
        """How many numbers its graph computes for each token where it is widest, if they are many.

        That is a number for each word of the vocabulary, in a sparse model; else 0.
        """
        rows = self.config.get("vocab_size")
        return rows if self.kind is Kind.SPARSE and isinstance(rows, int) else 0

    @property
    def digest(self) -> str:
        """One sha256 over the names and contents of all files."""
        digest = hashlib.sha256()
        for file in sorted(self.files, key=lambda f: f.path):
            digest.update(f"{file.path}\0{file.sha256}\n".encode())
        return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class TensorInfo(Record):
    """An input or output of a graph; a dynamic dimension is its name."""

    name: Text
    dtype: Identifier
    shape: Annotated[tuple[Count | Text, ...], MaxLen(100)]


@dataclass(frozen=True, kw_only=True)
class OnnxArtifact:
    """An ONNX file on disk.

    Attributes:
        path: Where it is.
        sha256: Of the graph file.
        size_bytes: Of the graph file.
        external_data: The file beside it that holds its weights, when it is over 2 GB.
        opset: Of the default domain.
        inputs: In order.
        outputs: In order.
        operators: Counts of operators, as `Domain.Name` outside ONNX's own domain.
        min_onnxruntime: The oldest ONNX Runtime that runs it.
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

    @property
    def digest(self) -> str:
        """What identifies the model: of the graph, and of its external data where it has one."""
        return self.sha256 + (self.external_data.sha256 if self.external_data else "")

    @property
    def total_size_bytes(self) -> int:
        """Graph and external data together."""
        return self.size_bytes + (self.external_data.size_bytes if self.external_data else 0)


@dataclass(frozen=True, kw_only=True)
class ExportedModel:
    """Plain ONNX, as traced."""

    artifact: OnnxArtifact


@dataclass(frozen=True, kw_only=True)
class Fusion(Record):
    """What became of one kind of operator, as attention.

    Attributes:
        kind: Its name.
        fused: How many are one operator.
        left: How many are not, by the reason.
    """

    kind: Name
    fused: Count
    left: Annotated[Mapping[Text, Positive], MaxLen(1000)]

    @property
    def found(self) -> int:
        """How many there are."""
        return self.fused + sum(self.left.values())


@dataclass(frozen=True, kw_only=True)
class OptimizedModel:
    """A fused graph.

    Attributes:
        artifact: The file.
        level: Of the optimization.
        fusions: What was fused and what was not, kind by kind.
    """

    artifact: OnnxArtifact
    level: OptimizationLevel
    fusions: tuple[Fusion, ...] = ()


@dataclass(frozen=True, kw_only=True)
class KeptNode(Record):
    """A node that a quantization left as it was, though it is of a kind that it changes.

    Attributes:
        node: Its name.
        operator: Its kind.
        reason: In words.
    """

    node: Text
    operator: Name
    reason: Text


@dataclass(frozen=True, kw_only=True)
class QuantizedModel:
    """A graph with smaller weights.

    Attributes:
        artifact: The file.
        level: Of the graph that it was made of.
        precision: Of the weights.
        kept: What was left as it was, in the graph's order.
    """

    artifact: OnnxArtifact
    level: OptimizationLevel
    precision: Precision
    kept: tuple[KeptNode, ...] = ()
