"""What each precision, recipe and level is, in words: for `embconvert help` and the documentation.

Code stands in backticks.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from embconvert.models.choices import OptimizationLevel, Precision
from embconvert.models.recipes import Recipe

PRECISIONS: Mapping[Precision, str] = {
    Precision.FLOAT32: "The exported and the optimized graph.",
    Precision.Q8: (
        "8-bit weights and embedding table, one scale per 32 weights. Activations are "
        "quantized per token, so an embedding does not depend on its batch."
    ),
    Precision.Q4: (
        "4-bit weights and embedding table in the same form as Q8, fitted to calibration texts."
    ),
    Precision.Q4F16: (
        "The 4-bit weights of Q4, half precision elsewhere, as in Float16: for GPUs, such as "
        "those that browsers use by WebGPU. On CPUs it is smaller than Q4, not faster, and ONNX "
        "Runtime gives wrong embeddings if a program sets graph_optimization_level to less than "
        "its default, ORT_ENABLE_ALL."
    ),
    Precision.QINT8: (
        "8-bit weights and embedding table; activations are quantized at run time, per token. "
        "The fastest on x86."
    ),
    Precision.QUINT8: "As QInt8, with unsigned weights.",
    Precision.FLOAT16: (
        "Half-precision transformer. Masks, positions and pooling stay float32, and so do "
        "nodes that overflow half precision on a sample of the calibration texts; the output, "
        "the manifest and the report name them. On CPUs it is smaller, not faster."
    ),
    Precision.QINT8_STATIC: (
        "8-bit weights and activations; the activations' scales are fixed by calibration: the "
        "lowest and highest value on the calibration texts (or another "
        "`--calibration_method`), after outlier channels were scaled down. Standard operators "
        "between `QuantizeLinear` and `DequantizeLinear`, which runtimes fuse, or with "
        "`--quant_format QOperator` integer operators; the numbers are the same. An embedding "
        "does not depend on its batch."
    ),
    Precision.QFLOAT8: (
        "8-bit floating-point weights, cast to float32 once, when ONNX Runtime loads the "
        "graph; embedding table of 8-bit integers, one scale per row. Only the file is "
        "smaller: time and memory are those of float32, and no activation is rounded. The "
        "graph is converted to opset 19."
    ),
}


@dataclass(frozen=True, kw_only=True)
class RecipeWords:
    """A recipe in words.

    Attributes:
        paper: Its authors and address; None if it has none.
    """

    words: str
    paper: tuple[str, str] | None = None


RECIPES: Mapping[Recipe, RecipeWords] = {
    Recipe.TOKEN_SCALES: RecipeWords(
        words="One activation scale per token, so an embedding does not depend on its batch."
    ),
    Recipe.SMOOTH: RecipeWords(
        words=(
            "Channels that are large for every token (for QInt8Static, for any token) are "
            "scaled down, and their weights up."
        ),
        paper=("Xiao et al.", "https://arxiv.org/abs/2211.10438"),
    ),
    Recipe.SHIFT: RecipeWords(
        words=(
            "The middle of each channel's range on the calibration texts is subtracted, and "
            "given back in the bias; only for products that have a bias."
        ),
        paper=("Wei et al.", "https://arxiv.org/abs/2304.09145"),
    ),
    Recipe.SPLIT: RecipeWords(
        words=(
            "The few outlier channels, at most one in 64, are multiplied separately in float32."
        ),
        paper=("Dettmers et al.", "https://arxiv.org/abs/2208.07339"),
    ),
    Recipe.BIAS_CORRECTION: RecipeWords(
        words=(
            "Biases compensate for the shift of a product's mean result by rounding; only for "
            "products that have a bias."
        ),
        paper=("Nagel et al.", "https://arxiv.org/abs/1906.04721"),
    ),
    Recipe.ROW_TABLE: RecipeWords(words="One scale per row of the embedding table."),
    Recipe.CLIP: RecipeWords(
        words=(
            "A weight's scale excludes its largest values, down to percentile 95, if that "
            "reduces the error."
        )
    ),
    Recipe.GPTQ: RecipeWords(
        words=(
            "Weights not yet rounded compensate for the error of those already rounded. It "
            "takes many times as long as the others."
        ),
        paper=("Frantar et al.", "https://arxiv.org/abs/2210.17323"),
    ),
    Recipe.MIXED: RecipeWords(
        words=(
            "The products most sensitive to rounding on the calibration texts get more bits: "
            "in Q4 8 bits, a third of the weights, or more if the file stays below a fifth of "
            "float32's size; in the others float32, a sixteenth. The manifest and the report "
            "name them."
        )
    ),
}

LEVELS: Mapping[OptimizationLevel, str] = {
    OptimizationLevel.NONE: "No optimization.",
    OptimizationLevel.BASIC: (
        "Attention of every kind (bidirectional, causal, sliding windows, relative positions, "
        "capped scores, shared heads), rotary embedding, RMSNorm, GELU and SiLU become one "
        "operator each. All of these operators also run on CUDA; `GroupQueryAttention`, for "
        "decoders, only in half precision there, and on the CPU in float32."
    ),
    OptimizationLevel.EXTENDED: (
        "The same, and a padding mask becomes part of the keys, so that the CPU provider "
        "computes attention in blocks. Correct everywhere, faster on CPUs only: use it to "
        "serve on CPUs."
    ),
    OptimizationLevel.ALL: (
        "The same, plus ONNX Runtime's own passes, with layouts for this machine."
    ),
}
