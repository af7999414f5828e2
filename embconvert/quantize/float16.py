"""Half-precision weights and arithmetic, float32 at the inputs and outputs and where half fails.

Values that half precision cannot hold, or whose digits it would lose, stay float32. That costs
memory for activations only: the weights that such values are computed with are stored as halves,
and cast where they are read, which ONNX Runtime does once when it loads a graph.
"""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from embconvert.graph.half_precision import fitting_exponent
from embconvert.graph.onnx_file import read_model
from embconvert.models.values import KeptNode
from embconvert.quantize.element_types import element_types
from embconvert.quantize.half_casts import Halving
from embconvert.quantize.half_nodes import HalfNodes, half_nodes, is_large
from embconvert.quantize.observed import value_sizes
from embconvert.quantize.settings import QuantizeSettings
from embconvert.quantize.surgery import Surgery

if TYPE_CHECKING:
    import onnx_ir as ir


def float16(path: Path, settings: QuantizeSettings, name: str = "Float16") -> "ir.Model":
    """Float16, where the values of the calibration texts allow it; `name` is in messages."""
    import onnx

    surgery = Surgery(path)
    sizes = value_sizes(surgery, settings)
    types = element_types(surgery.hollow)
    floats = {name for name, kind in types.items() if kind == onnx.TensorProto.FLOAT}
    model = read_model(path)
    exponents = {name: _exponent(model.graph.initializers[name]) for name in settings.wide}
    chosen = half_nodes(model.graph, floats, sizes, exponents)
    Halving(model, floats, chosen, exponents).run()
    _tell(chosen, settings, name)
    return model


def _exponent(value: "ir.Value") -> int | None:
    """Returns the power of two that a weight is divided by to fit; None for one that is not."""
    if not is_large(value):
        return None
    assert value.const_value is not None
    return fitting_exponent(value.const_value)


def _tell(chosen: HalfNodes, settings: QuantizeSettings, name: str) -> None:
    """Tells which nodes stay float32, and why."""
    for reason, count in Counter(chosen.kept.values()).items():
        names = sorted(str(node.name) for node, why in chosen.kept.items() if why == reason)
        settings.warn(
            f"{name}: {count} nodes stay float32, because {reason}: {', '.join(names[:5])}"
            f"{', ...' if count > 5 else ''}; the manifest and the report name them all"
        )
    for node, reason in chosen.kept.items():
        operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        settings.keep(KeptNode(node=str(node.name), operator=operator, reason=reason))
