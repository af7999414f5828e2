"""Our arithmetic beside ONNX Runtime's own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embconvert.quantize.channels import quantize_channels


@pytest.mark.parametrize("reduce_range", [True, False])
@pytest.mark.parametrize("kind", ["INT8", "UINT8"])
@pytest.mark.parametrize("axis", [0, -1])
@given(
    weights=arrays(
        np.float32,
        st.tuples(st.integers(1, 5), st.integers(1, 5)),
        elements=st.floats(-100, 100, width=32, allow_subnormal=True),
    )
)
def test_channels_are_quantized_as_onnx_runtime_does(
    axis: int, kind: str, reduce_range: bool, weights: np.ndarray
) -> None:
    from onnx import TensorProto, helper
    from onnxruntime.quantization.quant_utils import get_qmin_qmax_for_qType, quantize_data

    code = getattr(TensorProto, kind)
    symmetric = kind == "INT8"
    lowest, highest = get_qmin_qmax_for_qType(code, reduce_range, symmetric=symmetric)
    integers, scales, zeros = quantize_channels(
        weights, axis, lowest=int(lowest), highest=int(highest), symmetric=symmetric,
        dtype=helper.tensor_dtype_to_np_dtype(code),
    )  # fmt: skip
    for channel in range(weights.shape[axis]):
        data = weights.take(channel, axis)
        zero, scale, theirs = quantize_data(data, code, symmetric, reduce_range=reduce_range)
        assert scales[channel] == scale
        assert zeros[channel] == zero
        assert integers.take(channel, axis).tolist() == theirs.tolist()
