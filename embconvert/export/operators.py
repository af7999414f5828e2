"""Replaces operators that torch's tracing exporter gets wrong, or does not have.

Each replacement computes the same from operators that it has, while a model is traced.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from embconvert.export.complex_pairs import complex_operators
from embconvert.export.data_sizes import data_sizes
from embconvert.export.fourier import fourier_operators

if TYPE_CHECKING:
    import torch
    from torch.overrides import TorchFunctionMode

# ONNX Runtime 1.32 sums int64 as float64, which holds 53 bits: more are summed in two parts.
_LOW_BITS = 32


def traceable_operators() -> "TorchFunctionMode":
    """Returns a context in which operators are replaced by traceable ones, while a model is traced.

    `squeeze` of an axis of unknown size would become a condition with two branches, which rewrite
    rules cannot analyze; here it selects the axis's only element. `repeat_interleave` gets no
    negative axis: torch 2.13 would count the constant -1 up in place, which other operators of the
    trace use, too. Nor does `permute`, whose axes ONNX counts from the front only. `expm1`, complex
    numbers, `scatter` of a single truth value and, before opset 18, `|` and `&` of integers are
    missing in the exporter, as are `rms_norm`, `unfold`, Fourier transforms, and `split` by sizes
    that are data; `index_add` is wrong, and `scatter_reduce` includes
    the tensor's own elements.

    `as_strided` becomes a gather with computed indices: strides are Python integers, which would be
    right only for the traced length. Each requested stride is expressed as an integer multiple of
    one of the tensor's own strides, and those by its sizes, which the tracer records. Verification
    on other shapes confirms the guess.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    replacements = _replacements() | data_sizes() | complex_operators() | fourier_operators()

    class TraceableOperators(TorchFunctionMode):  # type: ignore[misc]
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = kwargs or {}
            if func in replacements and torch.jit.is_tracing():
                if "input" in kwargs:
                    args = (kwargs["input"], *args)
                    kwargs = {name: value for name, value in kwargs.items() if name != "input"}
                return replacements[func](func, *args, **kwargs)
            return func(*args, **kwargs)

    return TraceableOperators()


def _replacements() -> dict[Any, Callable[..., Any]]:
    import torch
    from torch import Tensor

    by_replacement: dict[Callable[..., Any], tuple[Any, ...]] = {
        _gather_strided: (Tensor.as_strided, torch.as_strided),
        _squeeze: (Tensor.squeeze, torch.squeeze),
        _repeat: (Tensor.repeat_interleave, torch.repeat_interleave),
        _permute: (Tensor.permute, torch.permute),
        _expm1: (Tensor.expm1, torch.expm1, torch.special.expm1),
        _cumsum: (Tensor.cumsum, torch.cumsum),
        _cummax: (Tensor.cummax, torch.cummax),
        _rms_norm: (torch.rms_norm, torch.nn.functional.rms_norm),
        _unfold: (Tensor.unfold,),
        _unflatten: (Tensor.unflatten, torch.unflatten),
        _index_add: (Tensor.index_add, Tensor.index_add_, torch.index_add),
        _scatter_reduce: (Tensor.scatter_reduce, torch.scatter_reduce),
        _scatter: (Tensor.scatter, Tensor.scatter_, torch.scatter),
        _of_truth_values: (
            Tensor.__or__, Tensor.__and__, Tensor.bitwise_or, Tensor.bitwise_and,
            torch.bitwise_or, torch.bitwise_and,
        ),
        _xor: (Tensor.__xor__, Tensor.bitwise_xor, torch.bitwise_xor),
    }  # fmt: skip
    return {func: ours for ours, funcs in by_replacement.items() for func in funcs}


def _expm1(_: Any, tensor: "torch.Tensor") -> "torch.Tensor":
    # The last digits of results near zero are lost; they are added to much larger numbers.
    return tensor.exp() - 1


def _cumsum(func: Any, tensor: "torch.Tensor", *args: Any, **kwargs: Any) -> "torch.Tensor":
    """Counts truth values as integers, as torch does."""
    import torch

    summed: torch.Tensor = func(
        tensor.long() if tensor.dtype is torch.bool else tensor, *args, **kwargs
    )
    return summed


def _cummax(_: Any, tensor: "torch.Tensor", dim: int) -> Any:
    """Returns the largest number so far and its place; it costs the square of the axis."""
    import torch

    moved = tensor.transpose(dim, -1)
    places = torch.arange(moved.shape[-1], device=tensor.device)
    least = torch.finfo if tensor.is_floating_point() else torch.iinfo
    seen = torch.where(places <= places[:, None], moved[..., None, :], least(tensor.dtype).min)
    values, found = seen.max(dim=-1)
    return torch.return_types.cummax((values.transpose(dim, -1), found.transpose(dim, -1)))


def _rms_norm(
    _: Any,
    tensor: "torch.Tensor",
    normalized_shape: Any,
    weight: "torch.Tensor | None" = None,
    eps: float | None = None,
) -> "torch.Tensor":
    import torch

    axes = tuple(range(-len(normalized_shape), 0))
    least = torch.finfo(tensor.dtype).eps if eps is None else eps
    normed = tensor * torch.rsqrt(tensor.pow(2).mean(axes, keepdim=True) + least)
    return normed if weight is None else normed * weight


def _unfold(_: Any, tensor: "torch.Tensor", dimension: int, size: int, step: int) -> "torch.Tensor":
    """Looks windows up by their places; the last axis of the result is a window's."""
    import torch

    axis, last = dimension % tensor.dim(), tensor.dim() - 1
    moved = tensor.transpose(axis, last)
    starts = torch.arange(0, moved.shape[last] - (size - 1), step, device=tensor.device)
    windows = moved[..., starts[:, None] + torch.arange(size, device=tensor.device)]
    return windows.transpose(axis, last)


def _unflatten(_: Any, tensor: "torch.Tensor", dim: int, sizes: "Sequence[int]") -> "torch.Tensor":
    """Divides an axis; the exporter's unflatten takes all other sizes for constant ones."""
    axis, shape = dim % tensor.dim(), tensor.shape
    return tensor.reshape(*shape[:axis], *sizes, *shape[axis + 1 :])


def _index_add(
    _: Any, tensor: "torch.Tensor", dim: int, index: "torch.Tensor", source: "torch.Tensor",
    *, alpha: float = 1,
) -> "torch.Tensor":  # fmt: skip
    """Adds rows of the same index up; the exporter's index_add keeps one of them."""
    shape = [1] * tensor.dim()
    shape[dim] = -1
    added = source if alpha == 1 else source * alpha
    return tensor.scatter_add(dim, index.reshape(shape).expand_as(source), added)


def _scatter(func: Any, tensor: "torch.Tensor", *args: Any, **kwargs: Any) -> "torch.Tensor":
    """Scatters a truth value as a tensor of it."""
    import torch

    if len(args) == 3 and isinstance(args[2], bool):
        dim, index, value = args
        args = (dim, index, torch.full_like(index, int(value)).to(tensor.dtype))
    scattered: torch.Tensor = func(tensor, *args, **kwargs)
    return scattered


def _scatter_reduce(
    func: Any, tensor: "torch.Tensor", dim: int, index: "torch.Tensor", src: "torch.Tensor",
    reduce: str, *, include_self: bool = True,
) -> "torch.Tensor":  # fmt: skip
    """Leaves the tensor's own elements out where others are added up or averaged."""
    import torch

    first = {"sum": 0.0, "mean": 0.0, "amax": float("-inf"), "amin": float("inf")}.get(reduce)
    if include_self or first is None:
        result: torch.Tensor = func(tensor, dim, index, src, reduce, include_self=include_self)
        return result
    count = torch.zeros_like(tensor).scatter_add(dim, index, torch.ones_like(src))
    start = torch.full_like(tensor, first)
    # Before opset 18, ONNX scatters sums, but no extremes.
    reduced = func(start, dim, index, src, reduce) if first else start.scatter_add(dim, index, src)
    mean = reduced / count.clamp(min=1) if reduce == "mean" else reduced
    return torch.where(count > 0, mean, tensor)


def _of_truth_values(func: Any, left: Any, right: Any) -> Any:
    """Computes with truth values where integers are nothing but 0 and 1."""
    import torch

    both = (left, right)
    if not all(isinstance(x, torch.Tensor) for x in both) or {torch.bool} == {
        x.dtype for x in both
    }:
        return func(left, right)
    if not all(bool(((x == 0) | (x == 1)).all()) for x in map(torch.Tensor.detach, both)):
        return func(left, right)
    return func(left.bool(), right.bool()).to(torch.promote_types(left.dtype, right.dtype))


def _xor(_: Any, left: Any, right: Any) -> "torch.Tensor":
    """Computes the exclusive or of each bit; the exporter has it for truth values only."""
    import torch

    kind = torch.result_type(left, right)
    both = [torch.as_tensor(x).to(kind) for x in (left, right)]
    if kind is torch.bool:
        return torch.logical_xor(*both)
    info = torch.iinfo(kind)
    places = torch.tensor(
        [1 << n for n in range(info.bits - (info.min < 0))], device=both[0].device
    )
    # The complement of a negative number has the opposite bits, and no sign.
    first, second = (torch.where(x < 0, -1 - x, x)[..., None] // places % 2 for x in both)
    differing = (first + second) % 2
    low, high = (
        (part * places[: part.shape[-1]]).sum(-1)
        for part in (differing[..., :_LOW_BITS], differing[..., _LOW_BITS:])
    )
    result = low + high * 2**_LOW_BITS
    return torch.where((both[0] < 0) == (both[1] < 0), result, -1 - result).to(kind)


def _squeeze(func: Any, tensor: "torch.Tensor", *args: Any, **kwargs: Any) -> "torch.Tensor":
    dim = args[0] if args else kwargs.get("dim")
    # No dynamic axis has a single element in a trace.
    if isinstance(dim, int) and int(tensor.shape[dim]) == 1:
        return tensor.select(dim, 0)
    squeezed: torch.Tensor = func(tensor, *args, **kwargs)
    return squeezed


def _repeat(func: Any, *args: Any, **kwargs: Any) -> "torch.Tensor":
    tensor = args[0] if args else kwargs.get("input")
    dim = args[2] if len(args) > 2 else kwargs.get("dim")
    if tensor is not None and dim is not None and dim < 0:
        args, kwargs = args[:2], {**kwargs, "dim": dim + tensor.dim()}
    repeated: torch.Tensor = func(*args, **kwargs)
    return repeated


def _permute(func: Any, *args: Any, **kwargs: Any) -> "torch.Tensor":
    tensor, *dims = args or (kwargs["input"],)
    axes = kwargs.get("dims") or (dims[0] if dims and not isinstance(dims[0], int) else dims)
    permuted: torch.Tensor = func(tensor, tuple(axis % tensor.dim() for axis in axes))
    return permuted


def _gather_strided(
    _: Any, tensor: "torch.Tensor", size: Any, stride: Any, storage_offset: int = 0
) -> "torch.Tensor":
    """Computes as_strided by a gather; the result is a copy."""
    import torch

    # Strides refer to memory: bring the axes into their order in memory.
    order = sorted(range(tensor.dim()), key=tensor.stride, reverse=True)
    tensor = tensor.permute(order).contiguous()
    own = tensor.stride()
    sizes = tensor.size()  # traced
    traced_strides: list[Any] = [1] * len(own)
    for axis in range(len(own) - 2, -1, -1):
        traced_strides[axis] = traced_strides[axis + 1] * sizes[axis + 1]

    index: Any = storage_offset
    for axis, (length, wanted) in enumerate(zip(size, stride, strict=True)):
        shape = [1] * len(size)
        shape[axis] = -1
        steps = torch.arange(length, device=tensor.device).reshape(shape)
        index = index + steps * _traced_stride(int(wanted), axis, own, traced_strides)
    return tensor.reshape(-1)[index]


def _traced_stride(wanted: int, axis: int, own: tuple[int, ...], traced: list[Any]) -> Any:
    """Returns a stride as a multiple of the largest own stride that divides it.

    Windows have a fixed length, so the stride between them is a fixed number of tokens; as a part
    of the stride between texts, it would be correct for one length only. Among equal strides, as if
    the traced text is a single window, that of the same axis is used.
    """
    fitting = [i for i, ours in enumerate(own) if 0 < ours <= wanted and wanted % ours == 0]
    if not fitting:
        return wanted
    nearest = max(fitting, key=lambda i: (own[i], i == axis))
    return traced[nearest] * (wanted // own[nearest])
