"""Quantization: one method per file, chosen by precision."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from embconvert.errors import QuantizeError, UnsupportedModelError, reason_of
from embconvert.graph.half_precision import TooLargeForHalf
from embconvert.graph.onnx_file import read_model, write_model
from embconvert.models.choices import Precision
from embconvert.models.values import KeptNode, OnnxArtifact, QuantizedModel
from embconvert.quantize.blockwise import blockwise_4, blockwise_8
from embconvert.quantize.blockwise_float16 import blockwise_4_float16
from embconvert.quantize.dynamic import dynamic_int8, dynamic_uint8
from embconvert.quantize.float8 import float8
from embconvert.quantize.float16 import float16
from embconvert.quantize.settings import QuantizeSettings
from embconvert.quantize.static import static_int8
from embconvert.rewrite.standard import write_in_standard_operators

if TYPE_CHECKING:
    import onnx_ir as ir

#: From a graph on disk to the quantized graph, with lazy weights if possible.
Quantizer = Callable[[Path, QuantizeSettings], "ir.Model"]

QUANTIZERS: Mapping[Precision, Quantizer] = MappingProxyType(
    {
        Precision.Q8: blockwise_8,
        Precision.Q4: blockwise_4,
        Precision.Q4F16: blockwise_4_float16,
        Precision.QINT8: dynamic_int8,
        Precision.QUINT8: dynamic_uint8,
        Precision.FLOAT16: float16,
        Precision.QINT8_STATIC: static_int8,
        Precision.QFLOAT8: float8,
    }
)

_QUANTIZED_OPERATORS = (
    "MatMulInteger", "QLinearMatMul", "DynamicQuantizeLinear", "QuantizeLinear",
    "DequantizeLinear", "com.microsoft.QAttention", "com.microsoft.MatMulNBits",
    "com.microsoft.GatherBlockQuantized",
)  # fmt: skip


def quantize(
    source: OnnxArtifact,
    path: Path,
    *,
    precision: Precision,
    settings: QuantizeSettings,
) -> QuantizedModel:
    """Writes a quantized graph.

    Args:
        source: An exported or optimized graph; it is not changed.

    Raises:
        QuantizeError: The quantization fails, or finds no weights.
        UnsupportedModelError: The graph is already quantized.
        OSError: The file cannot be written.
    """
    _refuse_quantized(source)
    while True:
        said: list[str] = []
        kept: list[KeptNode] = []
        noting = replace(settings, warn=said.append, keep=kept.append)
        try:
            artifact = _write(source, path, precision, noting)
            break
        except TooLargeForHalf as found:  # rare, and detected only during writing
            assert found.weight not in settings.wide, "the weight should have stayed float32"
            settings = replace(settings, wide=settings.wide | {found.weight})
    for message in said:
        settings.warn(message)
    return QuantizedModel(artifact=artifact, kept=tuple(kept))


def _write(
    source: OnnxArtifact, path: Path, precision: Precision, settings: QuantizeSettings
) -> OnnxArtifact:
    from onnx_ir.passes.common import RemoveUnusedOpsetsPass

    try:
        model = QUANTIZERS[precision](source.path, settings)
        model = write_in_standard_operators(model, settings.replaced)
        RemoveUnusedOpsetsPass()(model)
    except (OSError, QuantizeError):
        raise
    except Exception as error:
        raise QuantizeError(
            f"{precision} fails for this graph: {reason_of(error)}",
            "try another precision, or the exported graph (embconvert all --optimize 0); --debug "
            "shows the traceback",
        ) from error
    if not any(_is_quantized_weight(value) for value in model.graph.initializers.values()):
        raise QuantizeError(
            f"{precision} found no weights to quantize in {source.path.name}",
            "try another precision",
        )
    return write_model(model, path)


def _is_quantized_weight(value: Any) -> bool:
    """Whether an initializer is a matrix with 16 or fewer bits."""
    tensor = value.const_value
    return tensor is not None and len(tensor.shape) >= 2 and tensor.dtype.bitwidth <= 16


def _refuse_quantized(artifact: OnnxArtifact) -> None:
    found = [name for name in _QUANTIZED_OPERATORS if name in artifact.operators]
    found += [f"{name} weights" for name in _narrow_weights(artifact.path)]
    if found:
        raise UnsupportedModelError(
            f"{artifact.path.name} is already quantized: it has {found[0]}",
            "quantize the exported or the optimized graph, which has float32 weights",
        )


def _narrow_weights(path: Path) -> list[str]:
    """Returns the types with fewer than 32 bits of a graph's quantized matrices.

    Integers count if they are cast to floats or read by an operator of ONNX Runtime.
    """
    graph = read_model(path).graph
    found = set()
    values = [*graph.initializers.values()]
    values += [node.outputs[0] for node in graph.all_nodes() if node.op_type == "Constant"]
    for value in values:
        tensor = _constant(value)
        if tensor is None or len(tensor.shape) < 2 or tensor.dtype.bitwidth >= 32:
            continue
        if tensor.dtype.is_floating_point() or any(map(_makes_floats, value.consumers())):
            found.add(tensor.dtype)
    return sorted(dtype.name.lower() for dtype in found)


def _constant(value: "ir.Value") -> "ir.TensorProtocol | None":
    """Returns the content of an initializer or a Constant."""
    if value.const_value is not None:
        return value.const_value
    node = value.producer()
    attribute = None if node is None else node.attributes.get("value")
    return None if attribute is None else attribute.as_tensor()


def _makes_floats(node: "ir.Node") -> bool:
    import onnx_ir as ir

    if node.op_type == "Cast":
        return bool(ir.DataType(node.attributes.get_int("to", 0)).is_floating_point())
    return str(node.domain) not in ("", "ai.onnx")
