"""Makes integers of embeddings in torch, as in a graph with `--output_precision`."""

from typing import TYPE_CHECKING

from embconvert.models.choices import OutputPrecision
from embconvert.models.vector_code import VectorCode

if TYPE_CHECKING:
    import torch

_BITS = (128, 64, 32, 16, 8, 4, 2, 1)


def coded(vectors: "torch.Tensor", code: VectorCode) -> "torch.Tensor":
    """Returns the integers of embeddings, (texts, dim) float32: (texts, code.size) int8 or uint8.

    Source: sentence_transformers.util.quantization.quantize_embeddings (6.2).
    """
    import torch

    if code.precision.is_bits:
        codes = _packed(vectors > 0)
    else:
        lows, highs = (vectors.new_tensor(values) for values in (code.lows, code.highs))
        steps = (highs - lows) / 255
        steps = torch.where(steps == 0, torch.ones_like(steps), steps)
        codes = torch.clamp(torch.floor((vectors - lows) / steps), 0, 255)
    if code.precision in (OutputPrecision.INT8, OutputPrecision.BINARY):
        codes = codes - 128
    return codes.to(getattr(torch, code.precision.dtype))


def _packed(bits: "torch.Tensor") -> "torch.Tensor":
    """Returns bits, (texts, dim) bool, as numbers from 0 to 255, the first of eight the highest."""
    import torch

    values = torch.nn.functional.pad(bits.float(), (0, -bits.shape[1] % 8))
    weights = values.new_tensor(_BITS)
    # No matrix product, which quantization would replace.
    return (values.reshape(-1, values.shape[1] // 8, 8) * weights).sum(dim=2)
