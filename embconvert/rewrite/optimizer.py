"""Making a graph faster: the rules of rewrite/, and for level 99 ONNX Runtime's own passes.

The rules work on a graph whose weights stay on disk. ONNX Runtime runs its passes whenever it
loads a graph, so that baking them into the file only saves time at loading; level 99 does it,
with layouts that are right for this machine alone.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from embconvert.errors import OptimizeError
from embconvert.graph.hollow import HOLLOW_BYTES
from embconvert.graph.onnx_file import read_model, write_model
from embconvert.graph.runtime import NO_SECOND_COPY, open_session, session_options
from embconvert.models.choices import OptimizationLevel
from embconvert.models.values import ExportedModel, OptimizedModel
from embconvert.rewrite import rewrite, rules_for
from embconvert.rewrite.outcome import describe_fusions

if TYPE_CHECKING:
    import onnx_ir as ir


class Optimizer(StrEnum):
    """How a graph is optimized."""

    #: All rules.
    FUSION = "fusion"
    #: Only those that fuse nothing, for a graph that a fusion gets wrong.
    TIDYING = "tidying"


def optimize(
    source: ExportedModel,
    path: Path,
    *,
    level: OptimizationLevel,
    optimizer: Optimizer,
    skip_shape_inference: bool,
    work: Path,
    keep_weights_apart: bool = False,
) -> OptimizedModel:
    """Writes a faster graph.

    Args:
        source: The exported graph; it is not changed.
        path: The file to write.
        level: Which rules may be used.
        optimizer: Which of them are.
        skip_shape_inference: Rely on the sizes that the file declares alone.
        work: A folder for temporary files on the output's file system.
        keep_weights_apart: As write_model.

    Raises:
        OptimizeError: A rule or ONNX Runtime fails on the graph.
        OSError: The file cannot be written.
    """
    from onnx_ir.passes.common import RemoveUnusedOpsetsPass

    try:
        with _temporary_files_in(work):
            model = read_model(source.artifact.path)
            rules = rules_for(level, fuse=optimizer is Optimizer.FUSION)
            editor = rewrite(model, rules, infer_sizes=not skip_shape_inference)
            fusions = describe_fusions(editor)
            if level is OptimizationLevel.ALL:
                model = _run_passes(model, work)
    except OSError:
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise OptimizeError(
            f"the optimizer fails on this graph: {reason}",
            "use --optimize 0, or try --skip_shape_inference",
        ) from error
    RemoveUnusedOpsetsPass()(model)
    _check_interface(model, source)
    artifact = write_model(model, path, keep_weights_apart=keep_weights_apart)
    return OptimizedModel(artifact=artifact, level=level, fusions=fusions)


def _run_passes(model: "ir.Model", work: Path) -> "ir.Model":
    """Runs all of ONNX Runtime's passes; ONNX Runtime maps the weights from a file."""
    import onnxruntime

    rewritten, passed = work / "rewritten.onnx", work / "passed.onnx"
    write_model(model, rewritten, external_data_threshold_bytes=0)
    entries = {
        "session.optimized_model_external_initializers_file_name": passed.name + "_data",
        "session.optimized_model_external_initializers_min_size_in_bytes": str(HOLLOW_BYTES),
        **NO_SECOND_COPY,
    }
    options = session_options(**entries)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.optimized_model_filepath = str(passed)
    open_session(rewritten, options)
    return read_model(passed)


def _check_interface(model: "ir.Model", source: ExportedModel) -> None:
    """Refuses a graph whose inputs or outputs the optimizer has renamed or dropped.

    Raises:
        OptimizeError: They are others than the source's.
    """
    wanted = [t.name for t in (*source.artifact.inputs, *source.artifact.outputs)]
    found = [value.name for value in (*model.graph.inputs, *model.graph.outputs)]
    if wanted != found:
        raise OptimizeError(
            f"the optimizer changed the graph's inputs or outputs to {found}",
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
