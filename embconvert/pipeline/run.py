"""One run: reuses existing files, does the remaining jobs, and publishes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from embconvert.console import Console
from embconvert.errors import EmbconvertError, SourceError
from embconvert.folder.disk import output_errors, refuse_full_disk
from embconvert.folder.staging import Staging
from embconvert.manifest import ArtifactRecord, Manifest
from embconvert.models.choices import Command
from embconvert.pipeline.given import read_model_path
from embconvert.pipeline.kept_reference import remaining_jobs
from embconvert.pipeline.performer import ERRORS_OF_ONE_FILE, Performer
from embconvert.pipeline.prepare import Prepared, is_short_of_memory
from embconvert.pipeline.publishing import adapt_folder, complete, copy_source_files, show
from embconvert.pipeline.results import Results
from embconvert.pipeline.reuse import Reuse
from embconvert.pipeline.run_context import RunContext
from embconvert.pipeline.scheduler import Capacity, Scheduler
from embconvert.pipeline.source_process import SourceProcess
from embconvert.pipeline.speeds import speeds_of_run
from embconvert.pipeline.verifier import verification_record
from embconvert.plan.jobs import Job
from embconvert.plan.reuse import found_candidate
from embconvert.plan.steps import Stage
from embconvert.processes.resources import available_memory_bytes, cpus
from embconvert.processes.signals import uninterrupted
from embconvert.processes.workers import Workers
from embconvert.request.parsing import next_command
from embconvert.rewrite.optimizer import Optimizer


@dataclass(frozen=True, kw_only=True)
class Unpublished:
    """The result of a run, in its staging folder.

    Attributes:
        failures: The errors of single files.
        would_lose: Whether publishing it would take away what was there, after failures.
    """

    prepared: Prepared
    staging: Staging
    manifest: Manifest
    failures: Sequence[EmbconvertError]
    would_lose: bool


def publish(results: Sequence[Unpublished], console: Console) -> list[Manifest]:
    """Publishes the results of runs, all of them in one moment; returns the manifests.

    Nothing is published if that would take away what was there, after failures.

    Raises:
        EmbconvertError: The first failure of a run.
    """
    failures = [failure for one in results for failure in one.failures]
    for other in failures[1:]:
        console.warn(other.message)
    manifests = []
    if not any(one.would_lose for one in results):
        completed = []
        for one in results:
            with output_errors(one.staging.target):
                completed.append(complete(one.prepared, one.staging, one.manifest, console))
        with uninterrupted():
            for one, (_, has_changed) in zip(results, completed, strict=True):
                if has_changed:
                    with output_errors(one.staging.target):
                        one.staging.swap()
        for one, (manifest, _) in zip(results, completed, strict=True):
            show(manifest, one.prepared.plan.model_id, one.staging.target, console)
            manifests.append(manifest)
    if failures:
        raise failures[0]
    return manifests


def execute(
    prepared: Prepared, staging: Staging, workers: Workers, console: Console
) -> Unpublished:
    """Makes the requested files in a staging folder.

    Errors of single files are in the result: an OptimizeError, QuantizeError or DeriveError if one
    could not be made, a FidelityError if it is below its quality threshold.

    Raises:
        OutputError: The disk is too small; nothing was started.
        UsageError: A file needs a newer ONNX Runtime than allowed.
        EmbconvertError: The export failed.
    """
    request, plan = prepared.request, prepared.plan
    in_pieces = is_short_of_memory(plan, console)
    reuse = Reuse(prepared, staging, console)
    verification = verification_record(
        prepared.resolved.kind,
        prepared.resolved.routed.route if prepared.resolved.routed else None,
        skipped=request.skip_validation,
        layer_by_layer=in_pieces,
    )
    results = Results(prepared, staging, reuse, verification)
    if request.model_path is not None:
        results.take_given(read_model_path(request.model_path, staging.work, workers))
    _copy_files(prepared, staging, reuse)
    found = _take(prepared, reuse, results, console)
    jobs, kept = remaining_jobs(prepared, found, in_pieces=in_pieces)
    _refuse_full_disk(prepared, staging, jobs)
    run = RunContext(
        prepared=prepared,
        staging=staging,
        reuse=reuse,
        results=results,
        workers=workers,
        console=console,
        source=SourceProcess(request, prepared.resolved, staging.folder, workers, console),
        in_pieces=in_pieces,
    )
    performer = Performer(run, kept)
    capacity = Capacity(jobs=min(2, cpus()), memory_bytes=available_memory_bytes())
    failures = Scheduler(capacity, performer, console, ERRORS_OF_ONE_FILE).run(jobs)
    if not failures:
        performer.finish()
    results.check_sources(plan.all_steps)
    reuse.keep_published(results.records, request.layout)
    if plan.verifies and not in_pieces:
        results.speeds = speeds_of_run(run, performer.tokens)
    adapt_folder(prepared, staging, results, console)
    return Unpublished(
        prepared=prepared,
        staging=staging,
        manifest=results.manifest(),
        failures=failures,
        would_lose=bool(failures) and reuse.would_lose(results.published),
    )


def _copy_files(prepared: Prepared, staging: Staging, reuse: Reuse) -> None:
    """Stages other files than graphs: from the source, and from an earlier export."""
    copy_source_files(prepared.resolved, staging)
    if reuse.old is None or prepared.request.command not in (Command.OPTIMIZE, Command.QUANTIZE):
        return
    problem = reuse.add_files(reuse.old, staging.target)
    if problem is not None:
        raise SourceError(problem, f"run again: {next_command(prepared.request, Command.EXPORT)}")


def _take(
    prepared: Prepared, reuse: Reuse, results: Results, console: Console
) -> dict[str, ArtifactRecord]:
    """Reuses files of the plan from earlier runs; returns their records by file."""
    plan = prepared.plan
    found = reuse.take(plan.all_steps, results.digests)
    if plan.search is not None:
        candidate = found_candidate(plan.search, found, prepared.request)
        if candidate is not None:
            console.say(f"auto: {candidate[0].file} is up to date")
    for step in plan.steps:
        if step.file in found:
            method = found[step.file].method
            is_fallback = step.stage is Stage.OPTIMIZE and method != Optimizer.FUSION
            how = f", made without fusions ({method})" if is_fallback else ""
            console.say(f"{step.stage}: {step.file} is up to date{how}")
    results.records |= found
    return found


def _refuse_full_disk(prepared: Prepared, staging: Staging, jobs: Iterable[Job]) -> None:
    request = prepared.request
    made = {job.made_file for job in jobs if job.made_file is not None}
    smaller = ""
    if request.command is Command.ALL and not request.no_float32:
        smaller = "add --no_float32, which writes only the quantized files"
    refuse_full_disk(staging.target, prepared.plan.disk_need_bytes(made), smaller)
