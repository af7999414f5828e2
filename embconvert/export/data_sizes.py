"""Sizes that depend on a text: a trace must not have them as numbers."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from embconvert.export.model_files import replaced_in_files

if TYPE_CHECKING:
    import torch


def data_sizes() -> dict[Any, Callable[..., Any]]:
    """Returns what replaces torch's functions that take or give sizes as numbers."""
    import torch
    from torch import Tensor

    return {
        Tensor.tolist: _tolist,
        Tensor.split: _split,
        torch.split: _split,
    }


@contextlib.contextmanager
def traced_minimum(model: "torch.nn.Module") -> Iterator[None]:
    """Replaces Python's `min` inside the block, in the files of a model's modules.

    It returns one of its operands: a trace of `min(index_topk, seq)` would hold the limit, or no
    limit, whichever the traced text is below.
    """
    with replaced_in_files(model, {"min": _minimum}, also_built_in=True):
        yield


def _minimum(*args: Any, **kwargs: Any) -> Any:
    import torch

    traced = len(args) == 2 and any(isinstance(x, torch.Tensor) and not x.dim() for x in args)
    if not (traced and torch.jit.is_tracing()):
        return min(*args, **kwargs)
    return torch.minimum(*map(torch.as_tensor, args))


def _tolist(func: Any, tensor: "torch.Tensor") -> Any:
    """Returns integers as tensors, which are traced, and which Python takes for integers."""
    import torch

    if tensor.dim() != 1 or tensor.is_floating_point() or tensor.dtype is torch.bool:
        return func(tensor)
    return [tensor[place] for place in range(len(tensor))]


def _split(func: Any, tensor: "torch.Tensor", sizes: Any, dim: int = 0) -> Any:
    """Cuts parts whose sizes are tensors out one by one."""
    import torch

    if not isinstance(sizes, list | tuple) or not any(isinstance(s, torch.Tensor) for s in sizes):
        return func(tensor, sizes, dim)
    parts, start = [], torch.zeros((), dtype=torch.int64)
    moved = tensor.transpose(dim % tensor.dim(), 0)
    for size in sizes:
        end = start + size
        parts.append(moved[start:end].transpose(0, dim % tensor.dim()))
        start = end
    return tuple(parts)
