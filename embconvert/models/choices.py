"""The closed sets of values that a user can choose from."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Command(StrEnum):
    """A conversion command."""

    EXPORT = "export"
    OPTIMIZE = "optimize"
    QUANTIZE = "quantize"
    ALL = "all"


class Precision(StrEnum):
    """The number format of a graph's weights; the values are part of file names."""

    FLOAT32 = "Float32"
    Q8 = "Q8"
    Q4 = "Q4"
    Q4F16 = "Q4F16"
    QINT8 = "QInt8"
    QUINT8 = "QUInt8"
    FLOAT16 = "Float16"
    QINT8_STATIC = "QInt8Static"
    QFLOAT8 = "QFLOAT8E4M3FN"


#: The values of `--quantize`.
QUANTIZED_PRECISIONS = tuple(p for p in Precision if p is not Precision.FLOAT32)


#: What other programs call precisions, in lower case and with underscores. There is no bf16: it
#: has another range than Float16.
PRECISION_SYNONYMS: Mapping[str, Precision] = {
    "int8": Precision.QINT8, "i8": Precision.QINT8,
    "uint8": Precision.QUINT8, "u8": Precision.QUINT8,
    "fp16": Precision.FLOAT16, "f16": Precision.FLOAT16, "half": Precision.FLOAT16,
    "int4": Precision.Q4, "i4": Precision.Q4, "4bit": Precision.Q4,
    "int8_static": Precision.QINT8_STATIC, "static_int8": Precision.QINT8_STATIC,
    "fp8": Precision.QFLOAT8, "float8": Precision.QFLOAT8, "float8_e4m3fn": Precision.QFLOAT8,
    "fp32": Precision.FLOAT32, "f32": Precision.FLOAT32,
}  # fmt: skip


#: Those whose activations are half floats, which overflow at 65,504.
HALF_PRECISIONS = (Precision.FLOAT16, Precision.Q4F16)


#: The bits of weights of the blockwise precisions.
BLOCK_BITS: Mapping[Precision, int] = {Precision.Q8: 8, Precision.Q4: 4, Precision.Q4F16: 4}


@dataclass(frozen=True, kw_only=True)
class MaxSize:
    """A file size limit.

    Attributes:
        text: As the user wrote it.
        size_bytes: None if it is a share.
        share: Of the float32 size; None if it is in bytes.
    """

    text: str
    size_bytes: int | None = None
    share: float | None = None

    def in_bytes(self, float32_bytes: int) -> int:
        return (
            int((self.share or 0) * float32_bytes) if self.size_bytes is None else self.size_bytes
        )


class OptimizationLevel(IntEnum):
    """ONNX Runtime's graph optimization levels."""

    NONE = 0
    BASIC = 1
    EXTENDED = 2
    ALL = 99


class PoolingMode(StrEnum):
    """How sentence-transformers pools token vectors."""

    MEAN = "mean"
    CLS = "cls"
    LASTTOKEN = "lasttoken"
    MAX = "max"
    WEIGHTEDMEAN = "weightedmean"
    MEAN_SQRT_LEN = "mean_sqrt_len_tokens"


class Layout(StrEnum):
    """The layout of the published folder; the rules are in `manifest/layouts.py`."""

    HUB = "hub"
    NIXIESEARCH = "nixiesearch"
    TRANSFORMERSJS = "transformersjs"
    FASTEMBED = "fastembed"
    TEI = "tei"
    VESPA = "vespa"
    LANGCHAIN4J = "langchain4j"
    SPRINGAI = "springai"
    OPENSEARCH = "opensearch"
    SEMANTICKERNEL = "semantickernel"
    CHROMA = "chroma"
    MILVUS = "milvus"
    SINGLEFILE = "singlefile"
    OPENVINO = "openvino"


class Operators(StrEnum):
    """The operators that published graphs may have."""

    #: Also ONNX Runtime's own ones, which are faster.
    ANY = "any"
    #: Only those of ONNX itself.
    STANDARD = "standard"


class Output(StrEnum):
    """The outputs of a graph; `models/kinds/` has those of each kind of model."""

    #: Those that a kind usually has, such as last_hidden_state, then sentence_embedding.
    BOTH = "both"
    #: sentence_embedding alone.
    SENTENCE = "sentence"
    #: The logits of each token, which programs pool themselves.
    LOGITS = "logits"


#: The input that some clients never send, and others always.
TOKEN_TYPES = "token_type_ids"


#: Where each text of a batch begins in the row of all tokens.
OFFSETS = "offsets"


class Inputs(StrEnum):
    """The inputs that a client sends."""

    IDS_AND_MASK = "input_ids,attention_mask"
    WITH_TYPES = f"input_ids,attention_mask,{TOKEN_TYPES}"
    #: All tokens of a batch in one row, and where each text begins, as model2vec's export has it.
    IN_A_ROW = f"input_ids,{OFFSETS}"

    @property
    def names(self) -> tuple[str, ...]:
        """In order."""
        return tuple(self.value.split(","))


class OutputPrecision(StrEnum):
    """The number format of embeddings; the values are sentence-transformers' (`precision`)."""

    FLOAT32 = "float32"
    INT8 = "int8"
    UINT8 = "uint8"
    #: Bits in bytes from -128 to 127.
    BINARY = "binary"
    #: Bits in bytes from 0 to 255.
    UBINARY = "ubinary"

    @property
    def is_bits(self) -> bool:
        return self in (OutputPrecision.BINARY, OutputPrecision.UBINARY)

    @property
    def is_calibrated(self) -> bool:
        """Whether it needs each component's range."""
        return self in (OutputPrecision.INT8, OutputPrecision.UINT8)

    @property
    def dtype(self) -> str:
        """Numpy's name of the integers."""
        signed = self in (OutputPrecision.INT8, OutputPrecision.BINARY)
        return "int8" if signed else "uint8"


#: The lowest and the highest value of each component of an embedding.
Ranges = tuple[tuple[float, ...], tuple[float, ...]]


#: Opsets that the tracing exporter writes: LayerNormalization was added in 17, and torch's tracing
#: exporter supports at most 20.
OPSETS = range(17, 21)


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """What the user changes between token vectors and embedding; see `Request`."""

    pooling: PoolingMode | None = None
    normalize: bool = False
    dimensions: int | None = None
    output: Output = Output.BOTH
    output_precision: OutputPrecision = OutputPrecision.FLOAT32
    output_ranges: Ranges | None = None
