"""Traces the source model to plain ONNX.

There are two exporters. The tracing one takes a second, but bakes in values that Python computes
from shapes. The fallback, built on torch.export, takes ten times as long and keeps such sizes
symbolic. Verification on other shapes decides which graph is right.

Neither writes weights. The tracing exporter gets placeholders without memory, as inputs of the
graph. Afterwards they are bound to tensors in the source's files, which are read, cast to float32
and transposed one at a time when the graph is written.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

from embconvert.errors import (
    MORE_MEMORY,
    EmbconvertError,
    ExportError,
    UnsupportedModelError,
    reason_of,
)
from embconvert.export.constant_casts import fold_float64_constants
from embconvert.export.counted_tokens import COUNTING
from embconvert.export.data_sizes import traced_minimum
from embconvert.export.experts import one_expert_at_a_time
from embconvert.export.inputs import settle_inputs
from embconvert.export.model_files import replaced_methods
from embconvert.export.operators import traceable_operators
from embconvert.export.recurrences import recurrences_as_nodes
from embconvert.export.scans import expand_scans
from embconvert.export.selections import SELECTING
from embconvert.export.traced_weights import (
    bind_weights,
    drop_renamed_weights,
    fold_transposed_weights,
)
from embconvert.export.tracing import shapes_without_weights, without_products
from embconvert.models.choices import Inputs, Output
from embconvert.models.kinds import KINDS, TracedValue
from embconvert.source.stored_weights import float32_copies, placeholders, swapped

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch

    from embconvert.source.torch_model import SourceModel


class Exporter(StrEnum):
    """torch's methods of exporting a model."""

    TRACE = "trace"
    TORCH_EXPORT = "torch.export"


def trace(
    source: "SourceModel",
    *,
    opset: int,
    exporter: Exporter,
    output: Output = Output.BOTH,
    inputs: Inputs | None = None,
) -> "ir.Model":
    """Returns a model's graph, whose weights are read when it is written.

    The outputs depend on the kind. Embedding model: `last_hidden_state`, (batch, seq, hidden), and
    `sentence_embedding`, (batch, dim), pooled by the model's own modules. Reranker: `logits`,
    (batch, labels), before any activation. Sparse model: `sentence_embedding`, (batch, vocabulary),
    or `logits`, (batch, seq, vocabulary). Hybrid model: those of an embedding model;
    `token_weights`, (batch, seq); `colbert_embeddings`, (batch, seq, dim). All are float32, with
    dynamic batch and sequence dimensions.

    Args:
        output: Which of these outputs the graph has.
        inputs: Those of the client; None means the model's own.

    Raises:
        UnsupportedModelError: torch cannot express the model in ONNX.
        ExportError: There is not enough memory.
        SourceError: A weight that the graph uses is not in the model's files.
        UsageError: The model cannot do with these inputs.
    """
    import torch

    module = source.traced_module()
    tracer: Callable[..., ir.Model] = _trace
    stand_ins = placeholders
    if exporter is Exporter.TORCH_EXPORT:
        # It folds constants, which requires the real weights.
        tracer, stand_ins = _torch_export, float32_copies
    try:
        with torch.no_grad(), one_expert_at_a_time(module), swapped(module, stand_ins(module)):
            features = source.sample_features()
            model = tracer(module, features, opset, source.values)
        source.refuse_made_up(bind_weights(model, source.weights(), source.weight_files))
        _tidy(model)
        _settle_outputs(model, source, output)
        settle_inputs(model, features, inputs)
    except EmbconvertError:
        raise
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise ExportError(
            "there is not enough memory to trace the model",
            MORE_MEMORY,
        ) from error
    except Exception as error:
        raise UnsupportedModelError(
            f"torch's {exporter} exporter cannot express this model in ONNX: {reason_of(error)}",
            "try a higher --opset, which may have the operator; add --debug for the traceback",
        ) from error
    return model


def _trace(
    module: "torch.nn.Module",
    features: "Mapping[str, torch.Tensor]",
    opset: int,
    values: Sequence[TracedValue],
) -> "ir.Model":
    """Traces with torch's TorchScript exporter; weights become graph inputs."""
    import onnx
    import onnx_ir as ir
    import torch

    per_token, per_text = {0: "batch", 1: "seq"}, {0: "batch"}
    axes = dict.fromkeys(features, per_token)
    axes |= {value.name: per_token if value.per_token else per_text for value in values}
    buffer = io.BytesIO()
    with (
        traceable_operators(),
        traced_minimum(module),
        recurrences_as_nodes(module),
        replaced_methods(module, {**COUNTING, **SELECTING}),
        without_products(),
        shapes_without_weights(),
    ):
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
            # Folding would copy weights to constants; _tidy folds lazily instead.
            do_constant_folding=False,
        )
    model = ir.from_proto(onnx.load_model_from_string(buffer.getvalue()))
    expand_scans(model)
    return model


def _torch_export(
    module: "torch.nn.Module",
    features: "Mapping[str, torch.Tensor]",
    opset: int,
    values: Sequence[TracedValue],
) -> "ir.Model":
    """Traces with torch.export, which keeps sizes symbolic."""
    import torch
    from onnx import helper

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
    model = program.model
    # torch's choice is newer than the opset needs, and older ONNX Runtimes refuse it.
    model.ir_version = helper.find_min_ir_version_for([helper.make_opsetid("", opset)])
    return model


def _settle_outputs(model: "ir.Model", source: "SourceModel", output: Output) -> None:
    """Removes unwanted outputs, and restores last dimensions that the tracer lost."""
    import onnx_ir as ir
    import onnx_ir.passes.common as passes

    for value in model.graph.outputs:
        size = source.value_sizes[str(value.name)]
        if value.shape is not None and size is not None:
            value.shape = ir.Shape([*value.shape[:-1], size])
    named = KINDS[source.kind].named_outputs(output)
    for value in [value for value in model.graph.outputs if value.name not in named]:
        model.graph.outputs.remove(value)
    passes.RemoveUnusedNodesPass()(model)


def _tidy(model: "ir.Model") -> None:
    """Removes leftovers of the tracer without reading weights."""
    import onnx_ir.passes.common as passes

    passes.LiftConstantsToInitializersPass(lift_all_constants=False, size_limit=256)(model)
    fold_float64_constants(model)
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
