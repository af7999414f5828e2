"""8-bit weights with one scale for each channel.

ONNX Runtime's quantizer computes each channel apart, in Python: most of the time of a
quantization. The formulas here are its own (quant_utils.compute_scale_zp and quantize_nparray),
over all channels at once, and give the same numbers.
"""

from typing import Any

import numpy as np
import numpy.typing as npt


def quantize_channels(
    weights: npt.NDArray[np.float32],
    axis: int,
    *,
    lowest: int,
    highest: int,
    symmetric: bool,
    dtype: npt.DTypeLike,
) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32], npt.NDArray[Any]]:
    """Quantizes a weight, a channel at a time in meaning only.

    Args:
        weights: Of any rank.
        axis: The channels'.
        lowest: Smallest integer to use for a channel's range.
        highest: Largest integer to use for it.
        symmetric: Zero is the middle of the range.
        dtype: int8 or uint8; its whole range may be used by rounding.

    Returns:
        The integers, shaped as the weights; scales and zero points, (channels,).
    """
    others = tuple(i for i in range(weights.ndim) if i != axis % weights.ndim)
    # The range has zero in it, which must be exact.
    minima = np.minimum(weights.min(axis=others), np.float32(0))
    maxima = np.maximum(weights.max(axis=others), np.float32(0))
    if symmetric:
        maxima = np.maximum(-minima, maxima)
        minima = -maxima
    exact = (maxima.astype(np.float64) - minima) / float(highest - lowest)
    if symmetric:
        zeros = np.full(exact.shape, np.round((lowest + highest) / 2.0))
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            zeros = np.round(lowest - minima / exact)
    vanishing = exact < np.finfo(np.float32).tiny
    scales = np.where(vanishing, 1.0, exact).astype(np.float32)
    zeros = np.where(vanishing, 0.0, zeros)
    shape = [-1 if i == axis % weights.ndim else 1 for i in range(weights.ndim)]
    limits = np.iinfo(dtype)
    integers = weights / scales.reshape(shape)
    np.round(integers, out=integers)
    integers += zeros.astype(np.float32).reshape(shape)
    np.clip(integers, limits.min, limits.max, out=integers)
    return integers.astype(dtype), scales, zeros.astype(dtype)


def quantize_weight_per_channel(
    quantizer: Any,
    weight_name: str,
    weight_type: int,
    channel_axis: int,
    reduce_range: bool = True,
    keep_float_weight: bool = False,
) -> tuple[str, str, str]:
    """Takes the place of ONNXQuantizer.quantize_weight_per_channel_impl, with its arguments.

    Returns:
        Names of the quantized weight, its zero points and its scales.
    """
    import onnx
    from onnx import numpy_helper
    from onnxruntime.quantization.quant_utils import get_qmin_qmax_for_qType

    assert not keep_float_weight, "only kept for biases, which have no channels"
    tensor = quantizer.model.get_initializer(weight_name)
    symmetric = quantizer.is_weight_symmetric(weight_type)
    lowest, highest = get_qmin_qmax_for_qType(
        weight_type, quantizer.reduce_range and reduce_range, symmetric=symmetric
    )
    integers, scales, zeros = quantize_channels(
        numpy_helper.to_array(tensor),
        channel_axis,
        lowest=int(lowest),
        highest=int(highest),
        symmetric=symmetric,
        dtype=onnx.helper.tensor_dtype_to_np_dtype(weight_type),
    )
    names = f"{weight_name}_quantized", f"{weight_name}_zero_point", f"{weight_name}_scale"
    quantizer.model.initializer_extend(
        [
            numpy_helper.from_array(values, name)
            for values, name in zip((integers, zeros, scales), names, strict=True)
        ]
    )
    return names
