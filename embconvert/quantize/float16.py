"""Half-precision weights and arithmetic, float32 at the inputs and outputs."""

from pathlib import Path
from typing import Any

from embconvert.quantize.settings import QuantizeSettings


def float16(path: Path, settings: QuantizeSettings) -> Any:
    """Float16, by onnxconverter-common. Returns an onnx.ModelProto.

    Shape inference is left out: it fails on models over 2 GB and on fused operators, and what it
    learns is only noted in the graph.
    """
    import onnx
    from onnxconverter_common.float16 import convert_float_to_float16

    del settings
    return convert_float_to_float16(
        onnx.load(str(path)), keep_io_types=True, disable_shape_infer=True
    )
