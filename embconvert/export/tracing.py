"""Mends what torch's tracing exporter bakes into a graph, and what it copies.

The tracer records tensor operations; a stride is a Python integer to it, so `as_strided` with
strides that grow with the sequence (sliding-window attention in overlapping chunks) would be
right for the traced length only.
"""

import contextlib
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

# Shape inference computes with constants; larger ones are no shapes.
_LARGEST_SHAPE = 1024

if TYPE_CHECKING:
    import torch
    from torch.overrides import TorchFunctionMode


def traceable_operators() -> "TorchFunctionMode":
    """Returns a context in which the tracer is given operators that it can follow.

    `squeeze` of an axis whose size it doesn't know becomes a condition with two branches, which
    no rule sees through; here it is the axis's one element. `as_strided` becomes a gather with
    computed indices.

    Each stride asked for is expressed by one of the tensor's own strides, times a whole number,
    and those by its sizes, which the tracer does follow. Verification on shapes that were not
    traced proves the guess.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    class TraceableOperators(TorchFunctionMode):  # type: ignore[misc]
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = kwargs or {}
            if func in (torch.Tensor.as_strided, torch.as_strided) and torch.jit.is_tracing():
                return _gather_strided(*args, **kwargs)
            if func in (torch.Tensor.squeeze, torch.squeeze) and torch.jit.is_tracing():
                return _squeeze(func, *args, **kwargs)
            return func(*args, **kwargs)

    return TraceableOperators()


def _squeeze(func: Any, tensor: "torch.Tensor", *args: Any, **kwargs: Any) -> "torch.Tensor":
    dim = args[0] if args else kwargs.get("dim")
    # No axis that may vary has one element in a trace.
    if isinstance(dim, int) and int(tensor.shape[dim]) == 1:
        return tensor.select(dim, 0)
    squeezed: torch.Tensor = func(tensor, *args, **kwargs)
    return squeezed


def _gather_strided(
    tensor: "torch.Tensor", size: Any, stride: Any, storage_offset: int = 0
) -> "torch.Tensor":
    """as_strided by Gather; the result is a copy, which a graph has no other notion of."""
    import torch

    # Strides speak of memory: bring the axes into the order in which they lie there.
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
    """Returns a stride as a multiple of the largest of the tensor's own that divides it.

    Windows are of a fixed length, so that the stride between them is a fixed number of tokens; as
    a part of what lies between two texts it would be right for one length. Of equal ones, as
    where the traced text is one window, that of the same axis counts.
    """
    fitting = [i for i, ours in enumerate(own) if 0 < ours <= wanted and wanted % ours == 0]
    if not fitting:
        return wanted
    nearest = max(fitting, key=lambda i: (own[i], i == axis))
    return traced[nearest] * (wanted // own[nearest])


@contextlib.contextmanager
def without_products() -> Iterator[None]:
    """Leaves out the arithmetic of matrix products: a trace needs their shapes only.

    torch would copy a stand-in for a weight, which takes no memory, to the weight's full size to
    multiply with it. The tracer has noted the operation before it comes to the kernel for the CPU,
    which is another one meanwhile.
    """
    import torch

    def mm(left: "torch.Tensor", right: "torch.Tensor") -> "torch.Tensor":
        return left.new_zeros(left.shape[0], right.shape[1])

    def addmm(
        _: "torch.Tensor", left: "torch.Tensor", right: "torch.Tensor", **__: Any
    ) -> "torch.Tensor":
        return mm(left, right)

    kernels = torch.library.Library("aten", "IMPL")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch tells that a kernel is replaced
        kernels.impl("mm", mm, "CPU", allow_override=True)
        kernels.impl("addmm", addmm, "CPU", allow_override=True)
    try:
        yield
    finally:
        kernels._destroy()


@contextlib.contextmanager
def shapes_without_weights() -> Iterator[None]:
    """Keeps weights out of the exporter's shape inference.

    It copies each weight into the ONNX it makes of the nodes that use it, and keeps what it
    computes of them: transposed copies of all matrices. torch 2.13,
    torch/csrc/jit/passes/onnx/shape_type_inference.cpp.
    """
    import torch

    original = torch._C._jit_pass_onnx_graph_shape_type_inference

    def infer(graph: Any, weights: Any, opset: int) -> None:
        small = {name: w for name, w in weights.items() if w.numel() <= _LARGEST_SHAPE}
        original(graph, small, opset)

    torch._C._jit_pass_onnx_graph_shape_type_inference = infer
    try:
        yield
    finally:
        torch._C._jit_pass_onnx_graph_shape_type_inference = original
