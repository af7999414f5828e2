"""Fourier transforms as products with matrices, which fnet has instead of attention.

torch's tracing exporter has none, and ONNX's `DFT` computes along one axis of a size that is known.
A matrix costs as much as attention does: the square of a text's length for each channel.
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from embconvert.export.complex_pairs import ComplexPair

if TYPE_CHECKING:
    import torch


def fourier_operators() -> dict[Any, Callable[..., Any]]:
    """Returns what replaces torch's functions of this kind."""
    import torch

    return {torch.fft.fftn: _fftn}


def _fftn(
    func: Any, tensor: "torch.Tensor", s: Any = None, dim: "Sequence[int] | None" = None,
    norm: str | None = None,
) -> Any:  # fmt: skip
    """Transforms the axes one after the other; e^(-ix) is cos(x) - i sin(x)."""
    import torch

    if s is not None or dim is None or norm not in (None, "backward") or tensor.is_complex():
        return func(tensor, s, dim, norm)
    real, imag = tensor, torch.zeros_like(tensor)
    for axis in dim:
        size = tensor.shape[axis]
        places = torch.arange(size, device=tensor.device)
        # The remainder keeps angles small, and their cosines exact.
        turns = (places[:, None] * places % size).to(tensor.dtype) / size
        cosines, sines = (turns * (2 * math.pi)).cos(), (turns * (2 * math.pi)).sin()
        last = tensor.dim() - 1
        x, y = (part.transpose(axis % tensor.dim(), last) for part in (real, imag))
        x, y = x @ cosines + y @ sines, y @ cosines - x @ sines
        real, imag = (part.transpose(axis % tensor.dim(), last) for part in (x, y))
    return ComplexPair(real, imag)
