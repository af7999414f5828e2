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
from typing import TYPE_CHECKING

from embconvert.errors import ExportError, UnsupportedModelError
from embconvert.export.traced_weights import (
    bind_weights,
    drop_renamed_weights,
    fold_transposed_weights,
)
from embconvert.export.tracing import (
    shapes_without_weights,
    traceable_operators,
    without_products,
)
from embconvert.graph.onnx_file import write_model
from embconvert.models.choices import Output
from embconvert.models.kinds import KINDS, TOKENS_OUTPUT, Value
from embconvert.models.values import ExportedModel
from embconvert.processes.heap import without_holes
from embconvert.source.stored_weights import float32_copies, placeholders, swapped

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

    Args:
        source: The model.
        path: The file to write.
        opset: As of trace().
        exporter: Likewise.
        output: Likewise.
        keep_weights_apart: Leave the weights in the source's files; see source_tensors.

    Raises:
        UnsupportedModelError: As of trace().
        ExportError: Likewise.
        SourceError: Likewise; or a weight is not finite.
        OSError: The file cannot be written.
    """
    model = trace(source, opset=opset, exporter=exporter, output=output)
    return ExportedModel(artifact=write_model(model, path, keep_weights_apart=keep_weights_apart))


def trace(
    source: "SourceModel", *, opset: int, exporter: Exporter, output: Output = Output.BOTH
) -> "ir.Model":
    """Returns a model's graph; its weights are read when it is written.

    Its outputs are those of the model's kind. Of an embedding model, output 0 is
    `last_hidden_state`, (batch, seq, hidden) float32; output 1 is `sentence_embedding`,
    (batch, dim) float32, pooled by the model's own modules. Of a reranker there is one, `logits`,
    (batch, labels) float32, before any activation; of a sparse model `sentence_embedding`,
    (batch, vocabulary) float32. Batch and sequence are dynamic.

    Args:
        source: The model.
        opset: The ONNX operator set.
        exporter: Which of torch's exporters traces.
        output: SENTENCE leaves `last_hidden_state` out.

    Raises:
        UnsupportedModelError: torch can't express the model in ONNX.
        ExportError: There is not enough memory.
        SourceError: A weight that the graph uses is not in the model's files.
    """
    import torch

    module = source.traced_module()
    tracer: Callable[..., ir.Model] = _trace
    stand_ins = placeholders
    if exporter is Exporter.TORCH_EXPORT:
        # It folds constants, for which it needs the real weights.
        tracer, stand_ins = _torch_export, float32_copies
    try:
        with torch.no_grad(), without_holes(), swapped(module, stand_ins(module)):
            model = tracer(module, source.sample_features(), opset, KINDS[source.kind].values)
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
    source.refuse_made_up(bind_weights(model, weights))
    _tidy(model)
    _settle_outputs(model, source, output)
    return model


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
    drop_renamed_weights(model)
    fold_transposed_weights(model)
    for step in (
        passes.CommonSubexpressionEliminationPass(),
        passes.RemoveUnusedNodesPass(),
        passes.ClearMetadataAndDocStringPass(),
    ):
        step(model)
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
