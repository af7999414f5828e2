"""Casting weights to half precision as onnxconverter-common does, at the speed of the memory."""

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from embconvert.graph.layout import contiguous
from embconvert.graph.runtime import open_session, session_options
from embconvert.graph.streams import rows_of
from embconvert.processes.threads import on_rows

if TYPE_CHECKING:
    import onnx_ir as ir

#: The largest number of half precision.
HALF_RANGE = 65504.0
# What convert_np_to_float16 clips to.
_HALF_LARGEST = np.float32(1e4)
# Half-precision numbers without their sign, which grow as their bits do: what it rounds smaller
# numbers up to, 1e-7, and what it clips larger ones to.
_TINIEST, _LARGEST = np.array([1e-7, 1e4], np.float16).view(np.uint16)


class TooLargeForHalf(Exception):  # noqa: N818 - who casts it keeps it float32
    """A weight has numbers beyond half precision's range.

    Attributes:
        weight: Its name.
    """

    def __init__(self, weight: str) -> None:
        super().__init__(f"{weight} leaves half precision's range")
        self.weight = weight


def half_weight(name: str, weight: "ir.TensorProtocol") -> "ir.TensorProtocol":
    """Returns a weight that is cast to float16 when it is looked at; TooLargeForHalf then."""
    import onnx_ir as ir

    from embconvert.graph.rows_tensor import RowsTensor

    def cast(values: Any) -> Any:
        try:
            return to_half(values, HALF_RANGE)
        except OverflowError as error:
            raise TooLargeForHalf(name) from error

    kind, shape = ir.DataType.FLOAT16, ir.Shape(weight.shape)
    rows = rows_of(weight)
    if rows is None:
        return ir.LazyTensor(lambda: ir.Tensor(cast(weight.numpy())), kind, shape=shape, name=name)
    return RowsTensor(lambda which: cast(rows(which)), kind, shape=shape, name=name)


def to_half(values: Any, largest: float = np.inf) -> Any:
    """Casts a float32 array to float16 as onnxconverter-common's convert_np_to_float16 does.

    Finite numbers stay finite, and those that are not zero stay so. The library's takes some
    forty times as long on two CPUs, and ten times the array's memory.

    Args:
        values: Of any shape but ().
        largest: No absolute value may be larger.

    Raises:
        OverflowError: One is.
    """
    if values.ndim == 2 and values.T.flags.c_contiguous and not values.flags.c_contiguous:
        return contiguous(to_half(values.T, largest).T)  # read in the order in which it lies
    half = np.empty(values.shape, np.float16)

    def cast(rows: slice) -> None:
        given, made = np.ascontiguousarray(values[rows]).reshape(-1), half[rows].reshape(-1)
        _cast(given, made)
        bits = made.view(np.uint16)
        sizes = bits & 0x7FFF
        tiny = np.flatnonzero(sizes < _TINIEST)
        tiny = tiny[given[tiny] != 0]
        bits[tiny] = bits[tiny] & 0x8000 | _TINIEST
        large = np.flatnonzero(sizes > _LARGEST)
        if large.size:
            found = given[large]
            if np.abs(found).max() > largest:
                raise OverflowError
            clipped = np.clip(found, -_HALF_LARGEST, _HALF_LARGEST)
            made[large] = np.where(np.isinf(found), found, clipped)

    on_rows(cast, values.shape)
    return half


def _cast(given: Any, made: Any) -> None:
    """Casts one contiguous array into another; numpy does it a number at a time."""
    if not given.size:
        return
    session = _casting_session()
    binding = session.io_binding()
    binding.bind_cpu_input("given", given)
    binding.bind_output("made", "cpu", 0, np.float16, made.shape, made.ctypes.data)
    session.run_with_iobinding(binding)


@functools.cache
def _casting_session() -> Any:
    """Returns an ONNX Runtime session that casts on the thread that runs it."""
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Cast", ["given"], ["made"], to=TensorProto.FLOAT16)],
        "cast",
        [helper.make_tensor_value_info("given", TensorProto.FLOAT, [None])],
        [helper.make_tensor_value_info("made", TensorProto.FLOAT16, [None])],
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    options = session_options()
    options.intra_op_num_threads = 1
    return open_session(model.SerializeToString(), options)
