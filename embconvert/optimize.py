"""Fusing a graph with ONNX Runtime's transformer optimizer.

First ONNX Runtime's passes in C++ run, then its fusions in Python. Its own tool copies the model
several times; here both work on a hollow graph, whose weights are placeholders: the fusions look
at a few of them (attention's, to join them), and get them from the file when they do. Above level
1 the passes look at weights themselves, so they get the whole file.
"""

import contextlib
import tempfile
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embconvert.architectures import Architecture
from embconvert.config import OptimizationLevel
from embconvert.errors import OptimizeError
from embconvert.hollow import HOLLOW_BYTES, fill, hollow_out, weights_on_demand
from embconvert.model import ExportedModel, OptimizedModel
from embconvert.onnx_file import read_model, write_model
from embconvert.runtime import NO_SECOND_COPY, open_session, session_options

if TYPE_CHECKING:
    import onnx_ir as ir

_RUNTIME_LEVELS = {
    OptimizationLevel.BASIC: "ORT_ENABLE_BASIC",
    OptimizationLevel.EXTENDED: "ORT_ENABLE_EXTENDED",
    OptimizationLevel.ALL: "ORT_ENABLE_ALL",
}
# What ONNX Runtime's own tool, onnxruntime.transformers.optimizer.optimize_model, leaves out, to
# keep the patterns of its fusions intact.
_DISABLED_PASSES = ["ConstantSharing"]
_DISABLED_BEFORE_FUSION = [
    "MatMulScaleFusion", "MatMulAddFusion", "MatmulTransposeFusion", "GemmActivationFusion",
    "BiasSoftmaxFusion",
]  # fmt: skip


class Optimizer(StrEnum):
    """How a graph is optimized."""

    #: ONNX Runtime's passes, then its patterns of whole transformer blocks.
    FUSION = "fusion"
    #: ONNX Runtime's passes alone, for a graph that a pattern gets wrong.
    RUNTIME = "runtime"


def optimize(
    source: ExportedModel,
    path: Path,
    *,
    level: OptimizationLevel,
    architecture: Architecture,
    optimizer: Optimizer,
    skip_shape_inference: bool,
    work: Path,
) -> OptimizedModel:
    """Writes a fused graph.

    Args:
        source: The exported graph; it is not changed.
        path: The file to write.
        level: ONNX Runtime's optimization level.
        architecture: The model's real head count and hidden size: left to detection, ONNX
            Runtime fuses no attention above opset 17 and does not say so.
        optimizer: Which passes run.
        skip_shape_inference: Run the fusions without symbolic shape inference.
        work: A folder for temporary files on the output's file system.

    Raises:
        OptimizeError: ONNX Runtime fails on the graph.
        OSError: The file cannot be written.
    """
    import onnxruntime
    from onnx_ir.passes.common import RemoveUnusedOpsetsPass

    onnxruntime.set_default_logger_severity(3)
    try:
        with _temporary_files_in(work):
            passed = work / "passed.onnx"
            model = read_model(source.artifact.path)
            if level is OptimizationLevel.BASIC and not _computes_on_weights(model):
                proto, weights = _run_passes_hollow(model, passed)
            else:
                _run_passes(source.artifact.path, passed, level, optimizer)
                proto, weights = hollow_out(read_model(passed))
            if optimizer is Optimizer.FUSION:
                with weights_on_demand(weights):
                    proto = _fuse(proto, architecture, skip_shape_inference=skip_shape_inference)
            optimized = fill(proto, weights)
    except OSError:
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise OptimizeError(
            f"ONNX Runtime's optimizer fails on this graph: {reason}",
            "use --optimize 0, or try --skip_shape_inference",
        ) from error
    RemoveUnusedOpsetsPass()(optimized)
    _check_interface(optimized, source)
    return OptimizedModel(artifact=write_model(optimized, path), level=level)


def _computes_on_weights(model: "ir.Model") -> bool:
    """Whether a node reads nothing but weights: ONNX Runtime then computes it once, for good."""
    constants = {v for v in model.graph.initializers.values() if v.const_value is not None}
    for node in model.graph:
        inputs = [value for value in node.inputs if value is not None]
        large = any(
            v.const_value is not None and v.const_value.nbytes > HOLLOW_BYTES for v in inputs
        )
        if large and all(value in constants for value in inputs):
            return True
    return False


def _run_passes_hollow(
    model: "ir.Model", passed: Path
) -> "tuple[Any, dict[str, ir.TensorProtocol]]":
    """Runs ONNX Runtime's passes of level 1 on a graph without weights.

    Args:
        model: Not to be used afterwards.
        passed: A temporary file to write.

    Returns:
        As hollow_out.
    """
    import onnx

    proto, weights = hollow_out(model)
    placeholders = [t for t in proto.graph.initializer if t.name in weights]
    # ONNX Runtime takes no initializer without data: for its passes, weights are inputs.
    inputs = list(proto.graph.input)
    kept = [t for t in proto.graph.initializer if t.name not in weights]
    _replace(proto.graph.initializer, kept)
    proto.graph.input.extend(
        onnx.helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in placeholders
    )
    hollow = passed.with_name("hollow.onnx")
    hollow.write_bytes(proto.SerializeToString())
    _run_passes(hollow, passed, OptimizationLevel.BASIC, Optimizer.FUSION)
    proto = onnx.load(str(passed))
    _replace(proto.graph.input, inputs)
    proto.graph.initializer.extend(placeholders)
    return proto, weights


def _replace(repeated: Any, values: Iterable[Any]) -> None:
    """Replaces the content of a repeated field of a protobuf message."""
    values = list(values)
    del repeated[:]
    repeated.extend(values)


def _run_passes(source: Path, target: Path, level: OptimizationLevel, optimizer: Optimizer) -> None:
    """Runs ONNX Runtime's passes; the target gets its weights in a file beside it."""
    import onnxruntime

    entries = {
        "session.optimized_model_external_initializers_file_name": target.name + "_data",
        "session.optimized_model_external_initializers_min_size_in_bytes": str(HOLLOW_BYTES),
        **NO_SECOND_COPY,
    }
    options = session_options(**entries)
    options.graph_optimization_level = getattr(
        onnxruntime.GraphOptimizationLevel, _RUNTIME_LEVELS[level]
    )
    options.optimized_model_filepath = str(target)
    disabled = list(_DISABLED_PASSES)
    if level is not OptimizationLevel.BASIC and optimizer is Optimizer.FUSION:
        disabled += _DISABLED_BEFORE_FUSION
    open_session(source, options, disabled_optimizers=disabled)


def _fuse(proto: Any, architecture: Architecture, *, skip_shape_inference: bool) -> Any:
    """Runs ONNX Runtime's fusions on an onnx.ModelProto; returns the fused one."""
    from onnxruntime.transformers.optimizer import optimize_by_fusion

    heads, hidden = _head_count(architecture)
    options = _fusion_options(skip_shape_inference=skip_shape_inference)
    return optimize_by_fusion(proto, "bert", heads, hidden, options).model


def _head_count(architecture: Architecture) -> tuple[int, int]:
    """Returns head count and hidden size as the fusions accept them; zeros mean detection."""
    heads, hidden = architecture.num_heads or 0, architecture.hidden_size or 0
    return (heads, hidden) if heads and hidden and hidden % heads == 0 else (0, 0)


def _fusion_options(*, skip_shape_inference: bool) -> Any:
    from onnxruntime.transformers.fusion_options import FusionOptions

    options = FusionOptions("bert")
    # It would hide the embedding table, often half of the weights, from every quantizer.
    options.enable_embed_layer_norm = False
    # Else the mask becomes a count of tokens a row, which holds for padding on the right only.
    options.use_raw_attention_mask(True)
    options.enable_shape_inference = not skip_shape_inference
    return options


def _check_interface(model: "ir.Model", source: ExportedModel) -> None:
    """Refuses a graph whose inputs or outputs the optimizer has renamed or dropped.

    Raises:
        OptimizeError: They are others than the source's.
    """
    wanted = [t.name for t in (*source.artifact.inputs, *source.artifact.outputs)]
    found = [value.name for value in (*model.graph.inputs, *model.graph.outputs)]
    if wanted != found:
        raise OptimizeError(
            f"ONNX Runtime's optimizer changed the graph's inputs or outputs to {found}",
            "use --optimize 0 for this model",
        )


@contextlib.contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """Makes libraries put temporary files here: a container's /tmp may be small or read-only."""
    before = tempfile.tempdir
    tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
