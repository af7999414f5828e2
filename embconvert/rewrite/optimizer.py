"""Optimizes a graph by the rewrite rules, and for level 99 by ONNX Runtime's passes.

The rules work on a graph whose weights stay on disk. ONNX Runtime runs its own passes whenever it
loads a graph, so storing their result only saves time during loading. Level 99 does so, with
layouts for this machine only.
"""

import contextlib
import tempfile
from collections.abc import Collection, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from embconvert.errors import OptimizeError, reason_of
from embconvert.graph.hollow import HOLLOW_BYTES
from embconvert.graph.onnx_file import read_model, write_model
from embconvert.graph.runtime import NO_SECOND_COPY, open_session, session_options
from embconvert.models.choices import OptimizationLevel
from embconvert.models.values import Fusion, OnnxArtifact, OptimizedModel
from embconvert.rewrite import Rule, rewrite, rules_for
from embconvert.rewrite.outcome import describe_fusions
from embconvert.rewrite.standard import write_in_standard_operators

if TYPE_CHECKING:
    import onnx_ir as ir


class Optimizer(StrEnum):
    """The method of optimizing a graph."""

    #: All rules.
    FUSION = "fusion"
    #: Only rules that fuse nothing, if a fusion fails or gives wrong results.
    TIDYING = "tidying"
    #: No rule and no pass, if those fail, too.
    COPYING = "copying"


def optimize(
    source: OnnxArtifact,
    path: Path,
    *,
    level: OptimizationLevel,
    optimizer: Optimizer,
    skip_shape_inference: bool,
    work: Path,
    keep_weights_apart: bool = False,
    rules: tuple[Rule, ...] | None = None,
    replaced: Collection[str] = (),
) -> OptimizedModel:
    """Writes an optimized graph.

    Args:
        source: An exported graph; it is not changed.
        skip_shape_inference: Use only the sizes that the file declares.
        work: A folder for temporary files on the output's file system.
        keep_weights_apart: As for write_model.
        rules: Which ones are used; None means those of the level and the optimizer.
        replaced: Operators that are written in standard ones in the end.

    Raises:
        OptimizeError: A rule or ONNX Runtime fails.
        OSError: The file cannot be written.
    """
    from onnx_ir.passes.common import RemoveUnusedOpsetsPass

    try:
        with _temporary_files_in(work):
            model = read_model(source.path)
            fusions: tuple[Fusion, ...] = ()
            if optimizer is not Optimizer.COPYING:
                if rules is None:
                    rules = rules_for(level, fuse=optimizer is Optimizer.FUSION)
                editor = rewrite(model, rules, infer_sizes=not skip_shape_inference)
                fusions = describe_fusions(editor)
                if level is OptimizationLevel.ALL:
                    model = _run_passes(model, work)
            model = write_in_standard_operators(
                model, replaced, infer_sizes=not skip_shape_inference
            )
    except OSError:
        raise
    except Exception as error:
        raise OptimizeError(
            f"the optimizer fails for this graph: {reason_of(error)}",
            "use --optimize 0, or try --skip_shape_inference",
        ) from error
    RemoveUnusedOpsetsPass()(model)
    _check_interface(model, source)
    artifact = write_model(model, path, keep_weights_apart=keep_weights_apart)
    return OptimizedModel(artifact=artifact, fusions=fusions)


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


def _check_interface(model: "ir.Model", source: OnnxArtifact) -> None:
    """Raises OptimizeError if the optimizer renamed or removed inputs or outputs."""
    wanted = [t.name for t in (*source.inputs, *source.outputs)]
    found = [value.name for value in (*model.graph.inputs, *model.graph.outputs)]
    if wanted != found:
        raise OptimizeError(
            f"the optimizer changed the graph's inputs or outputs to {found}",
            "use --optimize 0 for this model",
        )


@contextlib.contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """Redirects temporary files: a container's /tmp may be small or read-only."""
    before = tempfile.tempdir
    tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
