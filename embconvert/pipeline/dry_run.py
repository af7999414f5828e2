"""`--dry_run`: shows the plan, the reused files, and the remaining jobs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from embconvert.console import Console
from embconvert.folder.exchange import staged_folders
from embconvert.folder.published import has_size
from embconvert.folder.staging import read_journals
from embconvert.foreign_text import one_line
from embconvert.manifest import ArtifactRecord
from embconvert.pipeline.kept_reference import remaining_jobs
from embconvert.pipeline.prepare import Prepared, is_short_of_memory
from embconvert.pipeline.reuse import why_graphs_go
from embconvert.plan.jobs import Job
from embconvert.plan.plan import Plan
from embconvert.plan.reuse import reusable
from embconvert.plan.search import name_of

#: What a run that verifies does when its jobs are done.
_TIMING = "then the speeds of the published files are measured, in turns, with nothing else running"


def dry_run(prepared: Prepared, target: Path, console: Console) -> str:
    """Returns what a run would do, as text or with --json as JSON.

    Files with the size in the manifest are treated as unchanged; a run compares their hashes.
    """
    plan, request = prepared.plan, prepared.request
    found = _found(prepared, target)
    in_pieces = is_short_of_memory(plan, console)
    jobs, _ = remaining_jobs(prepared, found, in_pieces=in_pieces)
    times_files = bool(jobs) and plan.verifies and not in_pieces
    if request.json:
        listed = [_as_json(job) for job in jobs]
        further = {
            "reused": sorted(found),
            "removed": [file for file, _ in _removed(prepared, found)],
            "jobs": listed,
            "times_files": times_files,
        }
        return json.dumps({**plan.as_json(), **further}, indent=2)
    text = _as_text(plan, sorted(found), _removed(prepared, found), jobs)
    return f"{text}\n{_TIMING}" if times_files else text


def _found(prepared: Prepared, target: Path) -> dict[str, ArtifactRecord]:
    """Returns the records of the files that a run would reuse."""
    manifests = read_journals(staged_folders(target))
    if prepared.old is not None:
        manifests.append((prepared.old, target))
    whole = [
        record
        for manifest, folder in manifests
        for record in manifest.artifacts
        if _is_there(record, folder)
    ]
    found = reusable(prepared.plan.all_steps, whole, prepared.digests)
    return {file: replace(record, path=file) for file, record in found.items()}


def _removed(prepared: Prepared, found: Mapping[str, ArtifactRecord]) -> Sequence[tuple[str, str]]:
    """Returns the published graphs that a run would remove, and why."""
    old = prepared.old
    if old is None:
        return []
    reason = why_graphs_go(old, prepared.request.layout)
    if reason is None:
        return []
    kept = {record.sha256 for record in found.values()}
    made = {step.file for step in prepared.plan.steps}
    lost = (a.path for a in old.artifacts if a.sha256 not in kept and a.path not in made)
    return [(path, reason) for path in lost]


def _is_there(record: ArtifactRecord, folder: Path) -> bool:
    return all(has_size(folder, file.path, file.size_bytes) for file in record.files)


def _as_json(job: Job) -> dict[str, object]:
    return {
        "name": job.name,
        "action": str(job.action),
        "file": job.step.file if job.step else None,
        "needs": list(job.needs),
        "memory_bytes": job.memory_bytes,
        "process": job.process,
        "exclusive": job.exclusive,
        "is_trial": job.is_trial,
    }


def _as_text(
    plan: Plan, reused: Sequence[str], removed: Sequence[tuple[str, str]], jobs: Sequence[Job]
) -> str:
    at = f" at {plan.revision}" if plan.revision else ""
    lines = [f"model     {one_line(plan.model_id)}{at}"]
    lines += [f"adapter   {one_line(adapter)}" for adapter in plan.adapters]
    lines.append(f"folder    {one_line(plan.output_dir)}")
    for step in plan.steps:
        floor = "not verified" if step.is_published else "not published"
        if step.floor is not None:
            floor = f"mean {plan.measure} at least {step.floor.mean_cosine:.10g}"
        lines.append(f"{step.stage:<9} {step.file} ({floor})")
    if plan.search is not None:
        names = [name_of(step.precision, step.options.recipes) for step in plan.search.candidates]
        lines.append(f"auto      the first of {', '.join(names)} that meets: {plan.search.budget}")
    lines += [*map(one_line, plan.remarks), *(f"reused    {file}" for file in reused)]
    lines += [f"removed   {file}: {reason}" for file, reason in removed]
    if not jobs:
        return "\n".join([*lines, "no file is made"] if removed else [*lines, "nothing to do"])
    lines.append("jobs; each starts when the jobs that it needs are done:")
    return "\n".join([*lines, *_numbered(jobs)])


def _numbered(jobs: Sequence[Job]) -> Iterator[str]:
    numbers = {job.name: number for number, job in enumerate(jobs, start=1)}
    width = max(len(job.name) for job in jobs)
    for job in jobs:
        notes = [f"{job.memory_bytes / 1e9:.1f} GB of memory"]
        if job.needs:
            notes.append("needs " + ", ".join(str(numbers[need]) for need in job.needs))
        if job.exclusive:
            notes.append("alone, because its speed is measured")
        if job.is_trial:
            notes.append("if no smaller file meets the budget")
        yield f"{numbers[job.name]:>3} {job.name:<{width}}  {'; '.join(notes)}"
