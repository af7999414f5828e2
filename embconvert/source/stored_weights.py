"""The source model's weights as in its files: memory-mapped, in their stored precision.

A weight that needs no cast remains a view of the mapping of its file: the kernel may drop its pages
and read them again. Half-precision weights would all be cast to float32 at once. Here they keep
their precision, in a tensor that claims to be float32 and is cast when it is used.
"""

import contextlib
import mmap
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from embconvert.overriding import override
from embconvert.processes.mappings import advise
from embconvert.source.merged_weight import MergedWeight

if TYPE_CHECKING:
    import torch


@contextlib.contextmanager
def keeping_stored_precision(files: Collection[str]) -> Iterator[None]:
    """Makes transformers load files, by their real paths, without a cast of their weights."""
    from transformers import core_model_loading

    original = core_model_loading._materialize_copy
    advised: list[bool] = []

    def materialize(tensor: Any, device: Any = None, dtype: Any = None) -> Any:
        del device, dtype
        if not advised:
            advised.append(True)
            # transformers reads a byte of each weight, for which the kernel would read megabytes
            # ahead.
            advise(files, mmap.MADV_RANDOM)
        return original(tensor)

    core_model_loading._materialize_copy = materialize
    try:
        yield
    finally:
        core_model_loading._materialize_copy = original
        advise(files, mmap.MADV_NORMAL)


def present_as_float32(
    model: "torch.nn.Module", merged: Mapping[int, MergedWeight] = MappingProxyType({})
) -> "Casts":
    """Makes parameters of other precisions appear as float32, in place, without a cast.

    Buffers, which are small, are cast. `merged` are parameters with their adapters, by the
    parameter's id(). Returns the cache of casts.
    """
    import torch

    casts = Casts()
    kind = _as_float32_class()
    replaced: dict[int, torch.nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is None or not parameter.is_floating_point():
                continue
            if parameter.dtype == torch.float32 and id(parameter) not in merged:
                continue
            # A tied weight is a single object in several modules, and must remain so.
            if id(parameter) not in replaced:
                lazy = kind(merged.get(id(parameter), parameter.detach()), casts)
                replaced[id(parameter)] = torch.nn.Parameter(lazy, requires_grad=False)
            module._parameters[name] = replaced[id(parameter)]
        for name, buffer in list(module._buffers.items()):
            if buffer is not None and buffer.is_floating_point():
                module._buffers[name] = buffer.float()
    casts.are_needed = bool(replaced)
    return casts


def as_stored(tensor: "torch.Tensor") -> "torch.Tensor | MergedWeight":
    """Returns a weight in the precision of the files."""
    stored: torch.Tensor | MergedWeight = getattr(tensor, "stored", tensor)
    return stored.detach()


class Casts:
    """A cache of float32 copies, for example of a layer while all batches pass it.

    Attributes:
        are_needed: Whether any weight is not stored as it is used.
        are_kept: Whether copies are cached until clear().
    """

    def __init__(self) -> None:
        self.are_needed = False
        self.are_kept = False
        self._kept: dict[int, torch.Tensor] = {}

    def float32(self, stored: "torch.Tensor | MergedWeight") -> "torch.Tensor":
        found = self._kept.get(id(stored))
        if found is None:
            found = stored.float()
            if self.are_kept:
                self._kept[id(stored)] = found
        return found

    def clear(self) -> None:
        self._kept.clear()


def _as_float32_class() -> Any:
    import torch
    from torch.utils._pytree import tree_map

    embedding = torch.ops.aten.embedding.default

    class AsFloat32(torch.Tensor):  # type: ignore[misc]
        """Claims to be float32; see https://docs.pytorch.org/docs/stable/notes/extending.html."""

        stored: torch.Tensor | MergedWeight
        casts: Casts

        @staticmethod
        def __new__(cls: Any, stored: torch.Tensor | MergedWeight, casts: Casts) -> Any:
            made = torch.Tensor._make_wrapper_subclass(
                cls, stored.shape, dtype=torch.float32, device=stored.device
            )
            made.stored, made.casts = stored, casts
            return made

        @override
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
                # Cast only the rows that are looked up: the table is often half of the model.
                stored = args[0].stored
                if isinstance(stored, MergedWeight):
                    return stored.rows(func, *args[1:], **(kwargs or {}))
                return func(stored, *args[1:], **(kwargs or {})).float()

            def cast(value: Any) -> Any:
                return value.casts.float32(value.stored) if isinstance(value, cls) else value

            # torch records the result as a view of this tensor, which inference mode forbids.
            mode = torch.inference_mode(torch.is_inference_mode_enabled() and not func.is_view)
            with mode:
                return func(*tree_map(cast, args), **tree_map(cast, kwargs or {}))

    return AsFloat32


@contextlib.contextmanager
def swapped(module: "torch.nn.Module", weights: "dict[int, torch.Tensor]") -> Iterator[None]:
    """Replaces parameters, by their id(), by other tensors inside the block; others are kept."""
    import torch

    before = [
        (part, name, parameter)
        for part in module.modules()
        for name, parameter in part._parameters.items()
        if parameter is not None
    ]
    # A tied weight must remain a single object, by which exporters recognize it.
    made = {key: torch.nn.Parameter(value, requires_grad=False) for key, value in weights.items()}
    for part, name, parameter in before:
        part._parameters[name] = made.get(id(parameter), parameter)
    try:
        yield
    finally:
        for part, name, parameter in before:
            part._parameters[name] = parameter


def placeholders(module: "torch.nn.Module") -> "dict[int, torch.Tensor]":
    """Returns replacements for swapped() with the parameters' shapes that need no memory.

    A placeholder is one number with strides of zero. The numbers differ, because torch's tracing
    exporter merges equal weights.
    """
    import torch

    return {
        id(parameter): torch.tensor(2.0**-10 + number * 2.0**-20).expand(parameter.shape)
        for number, parameter in enumerate(module.parameters())
        if parameter.dtype == torch.float32
    }


def float32_copies(module: "torch.nn.Module") -> "dict[int, torch.Tensor]":
    """Returns float32 copies of parameters that are stored otherwise, for swapped()."""
    return {
        id(parameter): as_stored(parameter).float()
        for parameter in module.parameters()
        if hasattr(parameter, "stored")
    }
