"""Ranges of activations that exclude rare values, by ONNX Runtime's histograms.

ONNX Runtime's calibraters keep the activations of all texts in memory; here their collector gets
those of one run at a time.
"""

import contextlib
import io
from collections.abc import Mapping, Sequence

from embconvert.models.recipes import CalibrationMethod
from embconvert.quantize.activations import activations
from embconvert.quantize.blocks import FloatArray
from embconvert.quantize.products import Product
from embconvert.quantize.settings import QuantizeSettings
from embconvert.quantize.surgery import Surgery

#: The lowest and the highest value that are not clipped.
Range = tuple[float, float]

# ONNX Runtime's defaults, except for entropy's number of bins: with 128, the number of integers, no
# bin could be excluded. The time grows with its square.
_BINS = {CalibrationMethod.PERCENTILE: 2048, CalibrationMethod.ENTROPY: 512}
_INTEGERS = 128
_PERCENTILE = 99.999


def histogram_ranges(
    surgery: Surgery,
    products: Sequence[Product],
    settings: QuantizeSettings,
    factors: Mapping[str, FloatArray],
) -> dict[str, Range]:
    """Returns the ranges of divided activations on the calibration texts; not for MinMax."""
    from onnxruntime.quantization.calibrate import HistogramCollector

    method = settings.options.calibration_method
    collector = HistogramCollector(
        method=str(method),
        symmetric=False,
        num_bins=_BINS[method],
        num_quantized_bins=_INTEGERS,
        percentile=_PERCENTILE,
        scenario="same",
    )
    for rows in activations(surgery, products, settings):
        collector.collect_value(
            {name: v / factors[name] if name in factors else v for name, v in rows.items()}
        )
    with contextlib.redirect_stdout(io.StringIO()):  # it prints progress
        found = collector.compute_collection_result()
    return {name: (float(ends[0]), float(ends[1])) for name, ends in found.items()}
