"""Ranges of activations that leave out what is rare, by ONNX Runtime's own histograms.

ONNX Runtime's calibraters keep every activation of all texts in memory until the last one; here
their collector gets those of one run at a time.
"""

import contextlib
import io
from collections.abc import Mapping, Sequence

from embconvert.models.choices import CalibrationMethod
from embconvert.quantize.activations import activations
from embconvert.quantize.blocks import FloatArray
from embconvert.quantize.products import Product
from embconvert.quantize.settings import QuantizeSettings
from embconvert.quantize.surgery import Surgery

#: The lowest and the highest value that keep their own integer.
Range = tuple[float, float]

# ONNX Runtime's defaults, but for entropy's bins: of 128, as many as the integers that they are
# folded to, none could be left out. The time grows with their square.
_BINS = {CalibrationMethod.PERCENTILE: 2048, CalibrationMethod.ENTROPY: 512}
_INTEGERS = 128
_PERCENTILE = 99.999


def histogram_ranges(
    surgery: Surgery,
    products: Sequence[Product],
    settings: QuantizeSettings,
    factors: Mapping[str, FloatArray],
) -> dict[str, Range]:
    """Returns the range of what products multiply, on the calibration texts, by name.

    Args:
        surgery: Has the graph.
        products: Of it.
        settings: Has the texts and the method, which is not MinMax.
        factors: What activations are divided by, each (channels,) float32.
    """
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
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
        found = collector.compute_collection_result()
    return {name: (float(ends[0]), float(ends[1])) for name, ends in found.items()}
