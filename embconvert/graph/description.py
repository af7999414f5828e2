"""Describes a graph file: inputs, outputs, operators, and the oldest ONNX Runtime."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from embconvert.models.compat import oldest_onnxruntime, variant
from embconvert.models.source_records import FileRecord
from embconvert.models.values import UNKNOWN_TYPE, OnnxArtifact, TensorInfo

if TYPE_CHECKING:
    import onnx_ir as ir


def artifact_of(
    model: "ir.Model", path: Path, sha256: str, external_data: FileRecord | None
) -> OnnxArtifact:
    import onnx_ir as ir

    operators: Counter[str] = Counter()
    variants: set[str] = set()
    for node in model.graph.all_nodes():
        domain = node.domain if node.domain not in ("", "ai.onnx") else ""
        name = f"{domain}.{node.op_type}" if domain else node.op_type
        operators[name] += 1
        integers = (a for a in node.attributes.values() if a.type is ir.AttributeType.INT)
        variants.add(variant(name, {a.name: a.as_int() for a in integers}, len(node.inputs)))
    opset = model.opset_imports.get("", model.opset_imports.get("ai.onnx", 0))
    return OnnxArtifact(
        path=path,
        sha256=sha256,
        size_bytes=path.stat().st_size,
        external_data=external_data,
        opset=opset,
        inputs=tuple(map(_tensor_info, model.graph.inputs)),
        outputs=tuple(map(_tensor_info, model.graph.outputs)),
        operators=dict(sorted(operators.items())),
        min_onnxruntime=oldest_onnxruntime(opset, model.ir_version, variants),
    )


def _tensor_info(value: "ir.Value") -> TensorInfo:
    shape = () if value.shape is None else tuple(value.shape)
    return TensorInfo(
        name=value.name or "",
        dtype=value.dtype.name.lower() if value.dtype is not None else UNKNOWN_TYPE,
        shape=tuple(d if isinstance(d, int) else str(d) for d in shape),
    )
