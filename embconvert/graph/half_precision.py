"""Casts weights to half precision at memory speed."""

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from embconvert.graph.layout import contiguous
from embconvert.graph.runtime import open_session, session_options
from embconvert.graph.streams import row_reader
from embconvert.processes.threads import on_rows

if TYPE_CHECKING:
    import onnx_ir as ir

#: The largest number of half precision.
HALF_RANGE = 65504.0
#: The largest relative error of a number that half precision rounds, above SMALLEST_NORMAL.
HALF_STEP = 2.0**-11
#: Smaller numbers lose digits.
SMALLEST_NORMAL = 2.0**-14
# Largest power of two by which a weight is divided: with a larger one, its ordinary numbers, which
# are about 0.01, would lose digits.
_LARGEST_EXPONENT = 7
# Bits of half-precision numbers without sign, which have the order of the numbers: the one to which
# smaller numbers are rounded up, so that an epsilon does not become 0, and infinity.
_TINIEST, _INFINITE = np.array([1e-7, np.inf], np.float16).view(np.uint16)
# Rows read at a time to find a weight's largest number.
_ROWS = 4096


class TooLargeForHalf(Exception):  # noqa: N818 - handled by keeping its readers float32
    """A weight has numbers beyond half precision's range; found when it is written."""

    def __init__(self, weight: str) -> None:
        super().__init__(f"{weight} exceeds the range of half precision")
        self.weight = weight


def half_weight(name: str, weight: "ir.TensorProtocol", exponent: int = 0) -> "ir.TensorProtocol":
    """Returns a weight that is cast to float16 when it is used; may raise TooLargeForHalf then.

    Args:
        name: For TooLargeForHalf.
        weight: Float32, of any shape except ().
        exponent: The weight is divided by this power of two.
    """
    import onnx_ir as ir

    from embconvert.graph.rows_tensor import RowsTensor

    factor = np.float32(2.0**-exponent)

    def cast(values: Any) -> Any:
        try:
            return to_half(values * factor if exponent else values)
        except OverflowError as error:
            raise TooLargeForHalf(name) from error

    kind, shape = ir.DataType.FLOAT16, ir.Shape(weight.shape)
    rows = row_reader(weight)
    if rows is None:
        return ir.LazyTensor(lambda: ir.Tensor(cast(weight.numpy())), kind, shape=shape, name=name)
    return RowsTensor(lambda which: cast(rows(which)), kind, shape=shape, name=name)


def fitting_exponent(weight: "ir.TensorProtocol") -> int | None:
    """Returns the power of two by which a weight must be divided to fit into half precision.

    None means that its other numbers would lose too many digits. Reads a few rows at a time.
    """
    rows = row_reader(weight) or weight.numpy().__getitem__
    count = weight.shape[0]
    parts = (np.abs(rows(slice(n, n + _ROWS))) for n in range(0, count, _ROWS))
    largest = max((float(part.max(initial=0)) for part in parts), default=0.0)
    if not math.isfinite(largest):
        return None
    exponent = max(0, math.ceil(math.log2(largest / HALF_RANGE))) if largest else 0
    return exponent if exponent <= _LARGEST_EXPONENT else None


def to_half(values: Any) -> Any:
    """Casts a float32 array to float16; nonzero numbers stay nonzero.

    onnxconverter-common's convert_np_to_float16 takes some forty times as long on two CPUs, and ten
    times the array's memory. It also clips numbers beyond 10,000.

    Args:
        values: Of any shape except ().

    Raises:
        OverflowError: A finite number exceeds the range of half precision.
    """
    if values.ndim == 2 and values.T.flags.c_contiguous and not values.flags.c_contiguous:
        return contiguous(to_half(values.T).T)  # read in memory order
    half = np.empty(values.shape, np.float16)

    def cast(rows: slice) -> None:
        given, made = np.ascontiguousarray(values[rows]).reshape(-1), half[rows].reshape(-1)
        _cast(given, made)
        bits = made.view(np.uint16)
        sizes = bits & 0x7FFF
        tiny = np.flatnonzero(sizes < _TINIEST)
        tiny = tiny[given[tiny] != 0]
        bits[tiny] = bits[tiny] & 0x8000 | _TINIEST
        if np.isfinite(given[sizes == _INFINITE]).any():
            raise OverflowError

    on_rows(cast, values.shape)
    return half


def _cast(given: Any, made: Any) -> None:
    """Casts one contiguous array to another; numpy would cast one number at a time."""
    if not given.size:
        return
    session = _casting_session()
    binding = session.io_binding()
    binding.bind_cpu_input("given", given)
    binding.bind_output("made", "cpu", 0, np.float16, made.shape, made.ctypes.data)
    session.run_with_iobinding(binding)


@functools.cache
def _casting_session() -> Any:
    """Returns an ONNX Runtime session that casts on the calling thread."""
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
