"""The operators that may run in half precision.

All others run in float32: sums over tokens grow with a text's length, squares leave the range
first, and an unknown operator may do either.
"""

#: Slow operators that read the weights: they run in half precision, with rounded inputs.
PRODUCTS = frozenset(
    {
        "MatMul", "Gemm", "FusedMatMul", "FusedGemm", "Einsum", "Conv", "Attention",
        "MultiHeadAttention", "GroupQueryAttention", "EmbedLayerNormalization",
        "GatedRelativePositionBias", "RelativePositionBias", "MatMulNBits", "GatherBlockQuantized",
    }
)  # fmt: skip
#: Their kernels sum in float32, and their weights bound their outputs.
NORMALIZATIONS = frozenset(
    {
        "LayerNormalization", "SimplifiedLayerNormalization", "RMSNormalization",
        "SkipLayerNormalization", "SkipSimplifiedLayerNormalization", "Softmax",
    }
)  # fmt: skip
#: Operators that only move numbers.
MOVEMENTS = frozenset(
    {
        "Identity", "Dropout", "Reshape", "Transpose", "Unsqueeze", "Squeeze", "Flatten", "Expand",
        "Tile", "Concat", "Slice", "Split", "Gather", "GatherElements", "GatherND",
        "ScatterElements", "ScatterND", "Pad", "Trilu",
    }
)  # fmt: skip
#: Elementwise operators: their outputs are as precise as their inputs.
ELEMENTWISE = MOVEMENTS | {
    "Add", "Sub", "Mul", "Div", "Sum", "Neg", "Abs", "Min", "Max", "Clip", "Where", "Cast", "Erf",
    "Tanh", "Sigmoid", "Relu", "LeakyRelu", "Elu", "Gelu", "FastGelu", "QuickGelu", "BiasGelu",
    "HardSwish", "HardSigmoid", "Swish", "BiasAdd", "RotaryEmbedding",
}  # fmt: skip
#: What a mask passes through on its way to a Softmax.
MASKING = MOVEMENTS | {"Add", "Sub", "Mul", "Where", "Cast"}
