"""Weights of the source model as its files hold them: mapped, in the precision they are stored in.

transformers maps a safetensors file, and a weight that needs no cast stays a view of the mapping:
the kernel may drop its pages and read them again. A weight that is stored in half precision would
be cast to float32 as a whole, all of them at once. Here it stays as it is stored, in a tensor that
claims to be float32 and is cast when something computes with it.
"""

import contextlib
import mmap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from embconvert.processes.mappings import advise

if TYPE_CHECKING:
    import torch

_SUFFIX = ".safetensors"


@contextlib.contextmanager
def keeping_stored_precision() -> Iterator[None]:
    """Lets transformers load weights without casting them to the precision that it is asked for."""
    from transformers import core_model_loading

    original = core_model_loading._materialize_copy
    advised: list[bool] = []

    def materialize(tensor: Any, device: Any = None, dtype: Any = None) -> Any:
        del device, dtype
        if not advised:
            advised.append(True)
            # It looks at a byte of each weight, for which the kernel would read megabytes ahead.
            advise(_SUFFIX, mmap.MADV_RANDOM)
        return original(tensor)

    core_model_loading._materialize_copy = materialize
    try:
        yield
    finally:
        core_model_loading._materialize_copy = original
        advise(_SUFFIX, mmap.MADV_NORMAL)


def present_as_float32(model: "torch.nn.Module") -> "Casts":
    """Makes parameters in another precision appear as float32, in place, without casting them.

    Args:
        model: On the CPU. Its buffers, which are small, are cast.

    Returns:
        The casts that are kept; empty for good where all is float32 already.
    """
    import torch

    casts = Casts()
    kind = _as_float32_class()
    replaced: dict[int, torch.nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is None or not parameter.is_floating_point():
                continue
            if parameter.dtype == torch.float32:
                continue
            # A tied weight is one object in several modules, and stays one.
            if id(parameter) not in replaced:
                lazy = kind(parameter.detach(), casts)
                replaced[id(parameter)] = torch.nn.Parameter(lazy, requires_grad=False)
            module._parameters[name] = replaced[id(parameter)]
        for name, buffer in list(module._buffers.items()):
            if buffer is not None and buffer.is_floating_point():
                module._buffers[name] = buffer.float()
    casts.are_needed = bool(replaced)
    return casts


def as_stored(tensor: "torch.Tensor") -> "torch.Tensor":
    """Returns a weight as the files hold it, in their precision."""
    stored: torch.Tensor = getattr(tensor, "stored", tensor)
    return stored.detach()


class Casts:
    """Float32 copies of weights, kept until clear(): a layer's, while all batches go through it.

    Attributes:
        are_needed: Whether the model has a weight that is not stored in float32.
        are_kept: Whether copies stay after they are used.
    """

    def __init__(self) -> None:
        self.are_needed = False
        self.are_kept = False
        self._kept: dict[int, torch.Tensor] = {}

    def float32(self, stored: "torch.Tensor") -> "torch.Tensor":
        """Returns a stored weight in float32."""
        found = self._kept.get(id(stored))
        if found is None:
            found = stored.float()
            if self.are_kept:
                self._kept[id(stored)] = found
        return found

    def clear(self) -> None:
        """Gives the copies' memory back."""
        self._kept.clear()


def _as_float32_class() -> Any:
    import torch
    from torch.utils._pytree import tree_map

    embedding = torch.ops.aten.embedding.default

    class AsFloat32(torch.Tensor):  # type: ignore[misc]
        """Claims to be float32; see https://docs.pytorch.org/docs/stable/notes/extending.html."""

        stored: torch.Tensor
        casts: Casts

        @staticmethod
        def __new__(cls: Any, stored: torch.Tensor, casts: Casts) -> Any:
            made = torch.Tensor._make_wrapper_subclass(
                cls, stored.shape, dtype=torch.float32, device=stored.device
            )
            made.stored, made.casts = stored, casts
            return made

        def __repr__(self, **_: Any) -> str:
            return f"AsFloat32({self.stored!r})"

        @classmethod
        def __torch_dispatch__(
            cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            del types
            if func is torch.ops.aten.detach.default and not torch.is_inference_mode_enabled():
                return cls(args[0].stored, args[0].casts)
            if func is embedding and isinstance(args[0], cls):
                # Only the rows that are looked up are cast: the table is often half of the model.
                return func(args[0].stored, *args[1:], **(kwargs or {})).float()

            def cast(value: Any) -> Any:
                return value.casts.float32(value.stored) if isinstance(value, cls) else value

            # torch notes the result of a view as one of this tensor, which inference mode forbids.
            mode = torch.inference_mode(torch.is_inference_mode_enabled() and not func.is_view)
            with mode:
                return func(*tree_map(cast, args), **tree_map(cast, kwargs or {}))

    return AsFloat32


@contextlib.contextmanager
def swapped(module: "torch.nn.Module", weights: "dict[int, torch.Tensor]") -> Iterator[None]:
    """Puts other tensors in the place of parameters, for a while.

    Args:
        module: Whose parameters, and those of all modules in it, are replaced.
        weights: The replacement of each parameter, by the parameter's id.
    """
    import torch

    before = [
        (part, name, parameter)
        for part in module.modules()
        for name, parameter in part._parameters.items()
        if parameter is not None
    ]
    # A tied weight stays one object: exporters know it by that.
    made = {key: torch.nn.Parameter(value, requires_grad=False) for key, value in weights.items()}
    for part, name, parameter in before:
        part._parameters[name] = made.get(id(parameter), parameter)
    try:
        yield
    finally:
        for part, name, parameter in before:
            part._parameters[name] = parameter


def placeholders(module: "torch.nn.Module") -> "dict[int, torch.Tensor]":
    """Returns stand-ins for parameters that have their shape and take no memory; for swapped().

    A stand-in is one number with strides of zero. Each has another number: torch's tracing
    exporter merges weights of equal values.
    """
    import torch

    return {
        id(parameter): torch.full((1,), 2.0**-10 + number * 2.0**-20).expand(parameter.shape)
        for number, parameter in enumerate(module.parameters())
        if parameter.dtype == torch.float32
    }


def float32_copies(module: "torch.nn.Module") -> "dict[int, torch.Tensor]":
    """Returns float32 copies of the parameters that are stored otherwise; for swapped()."""
    import torch

    return {
        id(parameter): as_stored(parameter).float()
        for parameter in module.parameters()
        if parameter.is_floating_point() and as_stored(parameter).dtype != torch.float32
    }
