"""What a user can choose from: closed sets of values, with what belongs to each."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType

from embconvert.errors import UsageError


class Command(StrEnum):
    """A verb of the command line."""

    EXPORT = "export"
    OPTIMIZE = "optimize"
    QUANTIZE = "quantize"
    ALL = "all"


class Precision(StrEnum):
    """The number format of a graph's weights, as its file name says it."""

    FLOAT32 = "Float32"
    Q8 = "Q8"
    Q4 = "Q4"
    QINT8 = "QInt8"
    QUINT8 = "QUInt8"
    FLOAT16 = "Float16"
    QINT8_STATIC = "QInt8Static"
    QFLOAT8 = "QFLOAT8E4M3FN"


#: The precisions that `--quantize` makes.
QUANTIZED_PRECISIONS = tuple(p for p in Precision if p is not Precision.FLOAT32)


class Recipe(StrEnum):
    """A way to lose less by a quantization, off or on by name."""

    #: Weights not rounded yet make good what rounding the others costs.
    GPTQ = "gptq"
    #: The products that rounding moves farthest get more bits: 8 of Q4, float32 of 8-bit integers.
    MIXED = "mixed"
    #: Each token's activations have a scale of their own.
    TOKEN_SCALES = "token_scales"
    #: Channels that are large everywhere are made smaller, and their weights larger.
    SMOOTH = "smooth"
    #: Each row of the embedding table has a scale of its own.
    ROW_TABLE = "row_table"
    #: Biases make good how rounding shifts a product's mean result.
    BIAS_CORRECTION = "bias_correction"
    #: A weight's scale leaves its largest values out where that moves results less.
    CLIP = "clip"
    #: The few channels that dwarf all others are multiplied apart, in float32.
    SPLIT = "split"


_INTEGER_RECIPES = (
    Recipe.SMOOTH, Recipe.SPLIT, Recipe.CLIP, Recipe.GPTQ, Recipe.BIAS_CORRECTION,
    Recipe.ROW_TABLE, Recipe.MIXED,
)  # fmt: skip
_DYNAMIC_RECIPES = (Recipe.TOKEN_SCALES, *_INTEGER_RECIPES)
_DYNAMIC_DEFAULT = (
    Recipe.TOKEN_SCALES, Recipe.SMOOTH, Recipe.BIAS_CORRECTION, Recipe.ROW_TABLE,
)  # fmt: skip
#: What each precision knows.
RECIPES: Mapping[Precision, tuple[Recipe, ...]] = MappingProxyType(
    {
        Precision.Q8: (Recipe.SMOOTH, Recipe.SPLIT),
        Precision.Q4: (Recipe.SMOOTH, Recipe.SPLIT, Recipe.GPTQ, Recipe.MIXED),
        Precision.QINT8: _DYNAMIC_RECIPES,
        Precision.QUINT8: _DYNAMIC_RECIPES,
        Precision.QINT8_STATIC: _INTEGER_RECIPES,
    }
)


class CalibrationMethod(StrEnum):
    """What range of values an activation of QInt8Static gets."""

    MINMAX = "minmax"
    ENTROPY = "entropy"
    PERCENTILE = "percentile"


class QuantFormat(StrEnum):
    """How a QInt8Static graph says that it is quantized."""

    #: Plain operators between QuantizeLinear and DequantizeLinear, for runtimes to fuse.
    QDQ = "QDQ"
    #: Operators of integers.
    QOPERATOR = "QOperator"


#: What is on by default: what is worth its price, by docs/quality.md. GPTQ takes many times as
#: long as the rest for a thousandth of cosine; split channels cost QInt8 a tenth of its speed, and
#: QInt8Static, which gains most, little.
DEFAULT_RECIPES: Mapping[Precision, tuple[Recipe, ...]] = MappingProxyType(
    {
        Precision.Q8: (Recipe.SMOOTH,),
        Precision.Q4: (Recipe.SPLIT, Recipe.GPTQ, Recipe.MIXED),
        Precision.QINT8: _DYNAMIC_DEFAULT,
        Precision.QUINT8: _DYNAMIC_DEFAULT,
        Precision.QINT8_STATIC: (
            Recipe.SMOOTH, Recipe.SPLIT, Recipe.BIAS_CORRECTION, Recipe.ROW_TABLE,
        ),
    }
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class QuantizeOptions:
    """How one file is quantized, beside its precision.

    Attributes:
        per_channel: One weight scale a channel rather than one a tensor.
        reduce_range: 7-bit weights: x86 without VNNI adds two products in 16 bits, which 8-bit
            weights overflow.
        recipes: What is on.
        table_bits: Of the token table of a blockwise precision; None means the precision's own.
        calibration_method: Of static quantization.
        quant_format: Likewise.
    """

    per_channel: bool = True
    reduce_range: bool = True
    recipes: tuple[Recipe, ...] = ()
    table_bits: int | None = None
    calibration_method: CalibrationMethod = CalibrationMethod.MINMAX
    quant_format: QuantFormat = QuantFormat.QDQ


@dataclass(frozen=True, kw_only=True)
class MaxSize:
    """The most that a file may take.

    Attributes:
        text: As the user wrote it.
        size_bytes: In bytes; None when it is a share.
        share: Of float32's size; None when it is in bytes.
    """

    text: str
    size_bytes: int | None = None
    share: float | None = None

    def in_bytes(self, float32_bytes: int) -> int:
        """Returns it in bytes."""
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
    """sentence-transformers' ways to make one vector of many token vectors."""

    MEAN = "mean"
    CLS = "cls"
    LASTTOKEN = "lasttoken"
    MAX = "max"
    WEIGHTEDMEAN = "weightedmean"
    MEAN_SQRT_LEN = "mean_sqrt_len_tokens"


class Layout(StrEnum):
    """How the published folder looks; layouts.py has the rules of each."""

    HUB = "hub"
    NIXIESEARCH = "nixiesearch"
    TRANSFORMERSJS = "transformersjs"
    FASTEMBED = "fastembed"
    TEI = "tei"
    VESPA = "vespa"
    SINGLEFILE = "singlefile"


class Output(StrEnum):
    """What a graph gives."""

    #: last_hidden_state, then sentence_embedding.
    BOTH = "both"
    #: sentence_embedding alone.
    SENTENCE = "sentence"


#: Opsets that the tracing exporter writes and that the pinned ONNX Runtime runs:
#: LayerNormalization came with 17, torch's tracing exporter ends at 20.
OPSETS = range(17, 21)


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """What the user changes on a model's way from token vectors to an embedding.

    Attributes:
        pooling: In place of the model's own; None keeps it.
        normalize: End in a Normalize module, whether or not the model has one.
        dimensions: Cut embeddings after so many components and normalize them; None keeps all.
    """

    pooling: PoolingMode | None = None
    normalize: bool = False
    dimensions: int | None = None


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Returns the known word that `word` most resembles, or None when none is close."""
    by_lowercase = {k.lower(): k for k in known}
    if word.lower() in by_lowercase:
        return by_lowercase[word.lower()]
    # A short word is near a long one that contains it: int8 -> QInt8.
    containing = [k for low, k in by_lowercase.items() if len(word) > 2 and word.lower() in low]
    if containing:
        return min(containing, key=len)
    matches = difflib.get_close_matches(word.lower(), by_lowercase, n=1, cutoff=0.6)
    return by_lowercase[matches[0]] if matches else None


def unknown_value(what: str, value: str, known: Iterable[str]) -> UsageError:
    """Returns the error for a value outside a closed set, with the nearest one suggested."""
    known = list(known)
    suggestion = nearest(value, known)
    choices = f"{what} can be {', '.join(known)}"
    hint = f"did you mean {suggestion}? {choices}" if suggestion else choices
    return UsageError(f"{what} {value!r} is not known", hint)
