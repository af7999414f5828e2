"""How a file is quantized: recipes, and the options of its precision."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from embconvert.models.choices import BLOCK_BITS, HALF_PRECISIONS, Precision

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
