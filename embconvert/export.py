"""Tracing the source model into plain ONNX.

Two exporters of torch are tried in turn. The tracing one takes a second and writes graphs that
ONNX Runtime's optimizer knows; it bakes in what Python computes from shapes. The one built on
torch.export takes ten times as long and keeps such sizes symbolic. Verification on unseen shapes
decides which graph is right.

Neither writes weights. The tracing exporter sees stand-ins that take no memory, and has the weights
as inputs of the graph; they are bound afterwards as tensors that still lie in the source's files,
and are read, cast to float32 and transposed one at a time, when the graph is written.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embconvert.config import Output
from embconvert.errors import ExportError, SourceError, UnsupportedModelError
from embconvert.graph.onnx_file import write_model
from embconvert.graph.source_tensors import mark, marked, place_of, transposed
from embconvert.kinds import KINDS, TOKENS_OUTPUT, Value
from embconvert.model import ExportedModel
from embconvert.processes.heap import without_holes
from embconvert.processes.mappings import MappedRange, mapped_ranges
from embconvert.source.stored_weights import float32_copies, placeholders, swapped
from embconvert.tracing import shapes_without_weights, traceable_operators, without_products

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch

    from embconvert.source.torch_model import SourceModel


class Exporter(StrEnum):
    """How torch turns a model into a graph."""

    TRACE = "trace"
    TORCH_EXPORT = "torch.export"


def export(
    source: "SourceModel",
    path: Path,
    *,
    opset: int,
    exporter: Exporter,
    output: Output = Output.BOTH,
    keep_weights_apart: bool = False,
) -> ExportedModel:
    """Writes a model's graph.

    Its outputs are those of the model's kind. Of an embedding model, output 0 is
    `last_hidden_state`, (batch, seq, hidden) float32; output 1 is `sentence_embedding`,
    (batch, dim) float32, pooled by the model's own modules. Of a reranker there is one, `logits`,
    (batch, labels) float32, before any activation; of a sparse model `sentence_embedding`,
    (batch, vocabulary) float32. Batch and sequence are dynamic.

    Args:
        source: The model.
        path: The file to write.
        opset: The ONNX operator set.
        exporter: Which of torch's exporters traces.
        output: SENTENCE leaves `last_hidden_state` out.
        keep_weights_apart: Leave the weights in the source's files; see source_tensors.

    Raises:
        UnsupportedModelError: torch can't express the model in ONNX.
        ExportError: There is not enough memory.
        OSError: The file cannot be written.
    """
    import torch

    module = source.traced_module()
    trace: Callable[..., ir.Model] = _trace
    stand_ins = placeholders
    if exporter is Exporter.TORCH_EXPORT:
        # It folds constants, for which it needs the real weights.
        trace, stand_ins = _torch_export, float32_copies
    try:
        with torch.no_grad(), without_holes(), swapped(module, stand_ins(module)):
            model = trace(module, source.sample_features(), opset, KINDS[source.kind].values)
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise ExportError(
            "there is not enough memory to trace the model",
            "convert it on a machine with more memory, or raise the container's limit",
        ) from error
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UnsupportedModelError(
            f"torch's {exporter} exporter cannot express this model in ONNX: {reason}",
            "add --debug for the traceback; a higher --opset may know the operator",
        ) from error
    weights = source.weights()
    source.refuse_made_up(_bind_weights(model, weights))
    _tidy(model)
    _settle_outputs(model, source, output)
    artifact = write_model(model, path, keep_weights_apart=keep_weights_apart)
    return ExportedModel(artifact=artifact)


def _trace(
    module: "torch.nn.Module",
    features: "Mapping[str, torch.Tensor]",
    opset: int,
    values: Sequence[Value],
) -> "ir.Model":
    """Traces with torch's TorchScript exporter, weights left as graph inputs."""
    import onnx
    import onnx_ir as ir
    import torch

    per_token, per_text = {0: "batch", 1: "seq"}, {0: "batch"}
    axes = dict.fromkeys(features, per_token)
    axes |= {value.name: per_token if value.per_token else per_text for value in values}
    buffer = io.BytesIO()
    with traceable_operators(), without_products(), shapes_without_weights():
        torch.onnx.export(
            module,
            tuple(features.values()),
            buffer,
            dynamo=False,
            opset_version=opset,
            input_names=list(features),
            output_names=[value.name for value in values],
            dynamic_axes=axes,
            export_params=False,
            # Folding would bake weights into constants; _tidy folds lazily instead.
            do_constant_folding=False,
        )
    return ir.from_proto(onnx.load_model_from_string(buffer.getvalue()))


def _torch_export(
    module: "torch.nn.Module",
    features: "Mapping[str, torch.Tensor]",
    opset: int,
    values: Sequence[Value],
) -> "ir.Model":
    """Traces with torch.export, whose sizes stay symbolic."""
    import torch

    dynamic = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    program = torch.onnx.export(
        module,
        tuple(features.values()),
        dynamo=True,
        opset_version=opset,
        input_names=list(features),
        output_names=[value.name for value in values],
        dynamic_shapes=((dynamic,) * len(features),),
        verbose=False,
    )
    assert program is not None
    return program.model


def _bind_weights(model: "ir.Model", weights: "Mapping[str, torch.Tensor]") -> list[str]:
    """Turns the graph inputs that are weights into initializers; returns their names.

    The tensors stay those of the source model. Names become those of the checkpoint.
    """
    import onnx_ir as ir

    graph = model.graph
    for value in [v for v in graph.inputs if v.name in weights]:
        graph.inputs.remove(value)
        graph.initializers.add(value)
    files = list(mapped_ranges(".safetensors"))
    for name, value in graph.initializers.items():
        if name in weights:
            value.const_value = _lazy_weight(name, weights[name], files)
    used = [name for name, value in graph.initializers.items() if name in weights and value.uses()]
    taken = set(graph.initializers) | {
        v.name for v in ir.traversal.RecursiveGraphIterator(graph) for v in v.outputs
    }
    for name in [n for n in graph.initializers if n in weights]:
        short = name.split(".", 3)[-1]
        if short not in taken:
            taken.add(short)
            graph.initializers[name].name = short
    return used


def _lazy_weight(
    name: str, stored: "torch.Tensor", files: Sequence[MappedRange]
) -> "ir.TensorProtocol":
    """Returns a weight that is read, checked and cast to float32 when it is looked at.

    Args:
        name: Of the weight.
        stored: As the source has it.
        files: Where it may be mapped from.
    """
    import onnx_ir as ir
    from onnx_ir.tensor_adapters import TorchTensor

    def read() -> "ir.Tensor":
        # isfinite() would make copies of the whole tensor; extremes carry what isn't finite along.
        if stored.numel() and not all(extreme.isfinite() for extreme in stored.aminmax()):
            raise SourceError(
                f"the weight {name.split('.', 3)[-1]} has values that are not finite",
                "download the model again",
            )
        return ir.Tensor(stored.float().cpu().numpy(), name=name)

    if not stored.is_floating_point():
        return TorchTensor(stored.cpu(), name=name)
    shape = ir.Shape(stored.shape)
    lazy = ir.LazyTensor(read, ir.DataType.FLOAT, shape=shape, name=name)
    return mark(lazy, place_of(stored, files))


def _settle_outputs(model: "ir.Model", source: "SourceModel", output: Output) -> None:
    """Leaves the outputs that are wanted, their last size a number where the tracer lost it."""
    import onnx_ir as ir

    for value in model.graph.outputs:
        size = source.value_sizes[str(value.name)]
        if value.shape is not None and size is not None:
            value.shape = ir.Shape([*value.shape[:-1], size])
    inner = {value.name for value in KINDS[source.kind].values if not value.is_output}
    if output is Output.SENTENCE:
        inner |= {TOKENS_OUTPUT}
    for value in [value for value in model.graph.outputs if value.name in inner]:
        model.graph.outputs.remove(value)


def _tidy(model: "ir.Model") -> None:
    """Drops what the tracer leaves behind, without touching a weight's bytes."""
    import onnx_ir.passes.common as passes

    passes.LiftConstantsToInitializersPass(lift_all_constants=False, size_limit=256)(model)
    _drop_renamed_weights(model)
    _fold_transposed_weights(model)
    for step in (
        passes.CommonSubexpressionEliminationPass(),
        passes.RemoveUnusedNodesPass(),
        passes.ClearMetadataAndDocStringPass(),
    ):
        step(model)
    for node in model.graph.all_nodes():
        node.metadata_props.clear()


def _drop_renamed_weights(model: "ir.Model") -> None:
    """Removes Identity(weight), which the tracer writes for weights of equal value."""
    import onnx_ir as ir

    outputs = set(model.graph.outputs)
    for node in list(model.graph):
        weight = node.inputs[0] if node.op_type == "Identity" else None
        if weight is None or not weight.is_initializer() or node.outputs[0] in outputs:
            continue
        ir.convenience.replace_all_uses_with(node.outputs[0], weight)
        model.graph.remove(node, safe=True)


def _fold_transposed_weights(model: "ir.Model") -> None:
    """Replaces Transpose(weight) by a weight that is transposed when it is written.

    A weight that several nodes transpose alike, as those of a layer that runs again and again, is
    written once.
    """
    import onnx_ir as ir

    graph = model.graph
    found: dict[tuple[ir.Value, tuple[int, ...]], list[ir.Node]] = {}
    for node in graph:
        weight = node.inputs[0] if node.op_type == "Transpose" and node.inputs else None
        if weight is None or not weight.is_initializer() or weight.const_value is None:
            continue
        axes = tuple(range(len(weight.const_value.shape)))[::-1]
        permutation = tuple(node.attributes.get_ints("perm", axes))
        found.setdefault((weight, permutation), []).append(node)
    for (weight, permutation), nodes in found.items():
        alone = len(weight.uses()) == len(nodes)
        name = str(weight.name) if alone else f"{weight.name}.transposed_{nodes[0].outputs[0].name}"
        folded = _transposed(weight.const_value, permutation, name)
        for node in nodes:
            ir.convenience.replace_all_uses_with(node.outputs[0], folded)
            graph.remove(node, safe=True)
        if alone:
            graph.initializers.pop(name)
        graph.register_initializer(folded)


def _transposed(tensor: Any, permutation: tuple[int, ...], name: str) -> "ir.Value":
    """Returns a weight whose axes are permuted when it is looked at."""
    import numpy as np
    import onnx_ir as ir

    def transpose() -> "ir.Tensor":
        return ir.Tensor(np.transpose(tensor.numpy(), permutation), dtype=tensor.dtype)

    shape = ir.Shape([tensor.shape[axis] for axis in permutation])
    lazy = ir.LazyTensor(transpose, tensor.dtype, shape=shape, name=name)
    mark(lazy, transposed(marked(tensor), permutation))
    return ir.Value(name=name, shape=shape, type=ir.TensorType(tensor.dtype), const_value=lazy)
