"""Keeps torch's tracing exporter from copying weights."""

import contextlib
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

# Shape inference needs constants that are shapes; larger ones are not.
_LARGEST_SHAPE = 1024

if TYPE_CHECKING:
    import torch


@contextlib.contextmanager
def without_products() -> Iterator[None]:
    """Skips the arithmetic of matrix products, of which a trace needs only the shapes.

    To multiply, torch would copy a placeholder, which needs no memory, to the weight's full size.
    The tracer records the operation before the CPU kernel runs, which is replaced here.
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
        warnings.simplefilter("ignore")  # torch warns that a kernel is replaced
        kernels.impl("mm", mm, "CPU", allow_override=True)
        kernels.impl("addmm", addmm, "CPU", allow_override=True)
    try:
        yield
    finally:
        kernels._destroy()


@contextlib.contextmanager
def shapes_without_weights() -> Iterator[None]:
    """Keeps weights out of the exporter's shape inference.

    Shape inference copies each weight for every node that uses it, and keeps computed results such
    as transposed copies of all matrices. See torch 2.13,
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
