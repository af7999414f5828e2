"""The closed sets of values that a user can choose from."""

from collections.abc import Collection, Mapping
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


_INTEGERS = (Precision.QINT8, Precision.QUINT8, Precision.QINT8_STATIC)
#: The precisions whose files an option changes, by its field; with others only, it is refused.
PRECISIONS_OF_OPTIONS: Mapping[str, tuple[Precision, ...]] = {
    "per_channel": (*_INTEGERS, Precision.QFLOAT8),
    "reduce_range": _INTEGERS,
    "table_bits": tuple(BLOCK_BITS),
    "calibration_method": (Precision.QINT8_STATIC,),
    "quant_format": (Precision.QINT8_STATIC,),
}


class Recipe(StrEnum):
    """A technique that reduces quantization error."""

    #: Weights not yet rounded compensate for the error of those already rounded.
    GPTQ = "gptq"
    #: The products most sensitive to rounding get more bits: 8 in Q4, float32 in 8-bit precisions.
    MIXED = "mixed"
    #: One activation scale per token.
    TOKEN_SCALES = "token_scales"
    #: Channels that are large for every token are scaled down, and their weights up.
    SMOOTH = "smooth"
    #: One scale per row of the embedding table.
    ROW_TABLE = "row_table"
    #: Biases compensate for the shift of a product's mean result by rounding.
    BIAS_CORRECTION = "bias_correction"
    #: A weight's scale excludes its largest values if that reduces the error.
    CLIP = "clip"
    #: The middle of each channel's range is subtracted, and given back in the bias.
    SHIFT = "shift"
    #: The few outlier channels are multiplied separately, in float32.
    SPLIT = "split"


_INTEGER_RECIPES = (
    Recipe.SMOOTH, Recipe.SPLIT, Recipe.CLIP, Recipe.GPTQ, Recipe.BIAS_CORRECTION,
    Recipe.ROW_TABLE, Recipe.MIXED,
)  # fmt: skip
_DYNAMIC_RECIPES = (Recipe.TOKEN_SCALES, Recipe.SHIFT, *_INTEGER_RECIPES)
_DYNAMIC_DEFAULT = (
    Recipe.TOKEN_SCALES, Recipe.SHIFT, Recipe.SMOOTH, Recipe.BIAS_CORRECTION, Recipe.ROW_TABLE,
)  # fmt: skip
_4_BIT_RECIPES = (Recipe.SMOOTH, Recipe.SPLIT, Recipe.GPTQ, Recipe.MIXED)
_4_BIT_DEFAULT = (Recipe.SPLIT, Recipe.GPTQ, Recipe.MIXED)
#: The recipes that each precision supports.
RECIPES: Mapping[Precision, tuple[Recipe, ...]] = {
    Precision.Q8: (Recipe.SMOOTH, Recipe.SPLIT),
    Precision.Q4: _4_BIT_RECIPES,
    Precision.Q4F16: _4_BIT_RECIPES,
    Precision.QINT8: _DYNAMIC_RECIPES,
    Precision.QUINT8: _DYNAMIC_RECIPES,
    Precision.QINT8_STATIC: _INTEGER_RECIPES,
}


class CalibrationMethod(StrEnum):
    """How the range of an activation of QInt8Static is determined."""

    MINMAX = "minmax"
    ENTROPY = "entropy"
    PERCENTILE = "percentile"


class QuantFormat(StrEnum):
    """The ONNX format of a QInt8Static graph."""

    #: Standard operators between QuantizeLinear and DequantizeLinear, which runtimes fuse.
    QDQ = "QDQ"
    #: Integer operators.
    QOPERATOR = "QOperator"


#: The recommended set, measured in docs/quality.md. GPTQ takes many times as long as the rest for a
#: thousandth of cosine; `split` costs QInt8 a tenth of its speed, and QInt8Static, which gains
#: most, little.
DEFAULT_RECIPES: Mapping[Precision, tuple[Recipe, ...]] = {
    Precision.Q8: (Recipe.SMOOTH,),
    Precision.Q4: _4_BIT_DEFAULT,
    Precision.Q4F16: _4_BIT_DEFAULT,
    Precision.QINT8: _DYNAMIC_DEFAULT,
    Precision.QUINT8: _DYNAMIC_DEFAULT,
    Precision.QINT8_STATIC: (
        Recipe.SMOOTH, Recipe.SPLIT, Recipe.BIAS_CORRECTION, Recipe.ROW_TABLE,
    ),
}  # fmt: skip


def recipes_of(precision: Precision, wanted: Collection[Recipe] | None) -> tuple[Recipe, ...]:
    """Returns the recipes for a file, of those that a user wants; None is the recommended set."""
    wanted = DEFAULT_RECIPES.get(precision, ()) if wanted is None else wanted
    return tuple(recipe for recipe in RECIPES.get(precision, ()) if recipe in wanted)


def uses_texts(precision: Precision, recipes: Collection[Recipe]) -> bool:
    """Whether a file is made with calibration texts, for its precision or its recipes."""
    return bool(recipes) or precision in (Precision.QINT8_STATIC, *HALF_PRECISIONS)


@dataclass(frozen=True, kw_only=True)
class QuantizeOptions:
    """How one file is quantized, apart from its precision.

    Attributes:
        per_channel: One weight scale per channel instead of per tensor.
        reduce_range: Limit each pair of weights to what fits into 16 bits, in which x86 without
            VNNI adds two products.
        table_bits: Of the embedding table of a blockwise precision; None means the precision's own.
    """

    per_channel: bool = True
    reduce_range: bool = True
    recipes: tuple[Recipe, ...] = ()
    table_bits: int | None = None
    calibration_method: CalibrationMethod = CalibrationMethod.MINMAX
    quant_format: QuantFormat = QuantFormat.QDQ


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
