"""Complex numbers as pairs of real ones: ONNX has operators for real numbers only.

Rotary embeddings in complex notation (llama4, deepseek_v2) turn pairs of channels by a product of
complex numbers.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

# Methods that move elements, the same for both parts.
_MOVES = frozenset({"__getitem__", "expand", "flatten", "reshape", "to", "transpose", "unsqueeze",
                    "view"})  # fmt: skip


class ComplexPair:
    """A tensor of complex numbers, as its real and imaginary parts."""

    def __init__(self, real: "torch.Tensor", imag: "torch.Tensor") -> None:
        self.real = real
        self.imag = imag

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Makes torch take it for a tensor; complex_operators() has what works with it."""
        del types, args, kwargs
        raise NotImplementedError(f"complex numbers in {func.__name__}")

    @property
    def device(self) -> Any:
        return self.real.device

    @property
    def shape(self) -> Any:
        return self.real.shape

    def __getattr__(self, name: str) -> Any:
        if name not in _MOVES:
            raise AttributeError(f"complex numbers have no {name} in a trace")

        def move(*args: Any, **kwargs: Any) -> ComplexPair:
            return ComplexPair(
                getattr(self.real, name)(*args, **kwargs), getattr(self.imag, name)(*args, **kwargs)
            )

        return move

    def __getitem__(self, index: Any) -> "ComplexPair":
        return ComplexPair(self.real[index], self.imag[index])

    def __mul__(self, other: Any) -> "ComplexPair":
        if not isinstance(other, ComplexPair):
            return ComplexPair(self.real * other, self.imag * other)
        return ComplexPair(
            self.real * other.real - self.imag * other.imag,
            self.real * other.imag + self.imag * other.real,
        )

    __rmul__ = __mul__


def complex_operators() -> dict[Any, Callable[..., Any]]:
    """Returns what replaces torch's functions that make and end complex numbers."""
    import torch

    return {
        torch.polar: _polar,
        torch.view_as_complex: _view_as_complex,
        torch.view_as_real: _view_as_real,
    }


def _polar(_: Any, absolute: "torch.Tensor", angle: "torch.Tensor") -> ComplexPair:
    return ComplexPair(absolute * angle.cos(), absolute * angle.sin())


def _view_as_complex(_: Any, pairs: "torch.Tensor") -> ComplexPair:
    return ComplexPair(pairs[..., 0], pairs[..., 1])


def _view_as_real(func: Any, numbers: Any) -> "torch.Tensor":
    import torch

    if not isinstance(numbers, ComplexPair):
        viewed: torch.Tensor = func(numbers)
        return viewed
    return torch.stack((numbers.real, numbers.imag), dim=-1)
