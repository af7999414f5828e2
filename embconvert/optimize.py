"""Fusing a graph with ONNX Runtime's transformer optimizer."""

import contextlib
import tempfile
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

from embconvert.architectures import Architecture
from embconvert.config import OptimizationLevel
from embconvert.errors import OptimizeError
from embconvert.model import ExportedModel, OptimizedModel
from embconvert.onnx_file import write_model


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
    import onnx_ir as ir
    import onnxruntime
    from onnx_ir.passes.common import RemoveUnusedOpsetsPass
    from onnxruntime.transformers.fusion_options import FusionOptions
    from onnxruntime.transformers.optimizer import optimize_model

    options = FusionOptions("bert")
    # It would hide the embedding table, often half of the weights, from every quantizer.
    options.enable_embed_layer_norm = False
    # Else the mask becomes a count of tokens a row, which holds for padding on the right only.
    options.use_raw_attention_mask(True)
    options.enable_shape_inference = not skip_shape_inference
    heads, hidden = architecture.num_heads or 0, architecture.hidden_size or 0
    if not heads or not hidden or hidden % heads:
        heads = hidden = 0
    onnxruntime.set_default_logger_severity(3)
    try:
        with _temporary_files_in(work):
            optimized = optimize_model(
                str(source.artifact.path),
                model_type="bert",
                num_heads=heads,
                hidden_size=hidden,
                optimization_options=options,
                opt_level=int(level),
                only_onnxruntime=optimizer is Optimizer.RUNTIME,
            )
            optimized.topological_sort()
    except OSError:
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise OptimizeError(
            f"ONNX Runtime's optimizer fails on this graph: {reason}",
            "use --optimize 0, or try --skip_shape_inference",
        ) from error
    model = ir.from_proto(optimized.model)
    RemoveUnusedOpsetsPass()(model)
    _check_interface(model, source)
    return OptimizedModel(artifact=write_model(model, path), level=level)


def _check_interface(model: Any, source: ExportedModel) -> None:
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
