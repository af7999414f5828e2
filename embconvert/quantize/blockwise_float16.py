"""4-bit products and tables, and half precision between them."""

from pathlib import Path
from typing import TYPE_CHECKING

from embconvert.graph.onnx_file import write_model
from embconvert.quantize.blockwise import blockwise_4
from embconvert.quantize.float16 import float16
from embconvert.quantize.half_scales import Scales
from embconvert.quantize.settings import QuantizeSettings

if TYPE_CHECKING:
    import onnx_ir as ir


def blockwise_4_float16(path: Path, settings: QuantizeSettings) -> "ir.Model":
    """Q4F16: the integers of Q4, then what Float16 does to the rest, scales included.

    Half precision comes second, so that it looks at the values that 4 bits give.
    """
    between = settings.work / f"{path.stem}-4-bit.onnx"
    write_model(blockwise_4(path, settings, table_scales=Scales.HALF_STEPS), between)
    return float16(between, settings, "Q4F16")
