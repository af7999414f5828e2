"""All that is known before work starts: the source, what is published, the plan."""

import json
from dataclasses import dataclass
from pathlib import Path

from embconvert import hub
from embconvert.console import Console
from embconvert.folder.published import read_manifest
from embconvert.foreign_text import one_line
from embconvert.manifest import Manifest
from embconvert.manifest.codec import OlderManifest
from embconvert.manifest.requesting import request_from
from embconvert.models.choices import Command
from embconvert.models.values import ResolvedModel
from embconvert.plan.plan import Plan, make_plan
from embconvert.plan.search import name_of
from embconvert.processes.resources import (
    available_memory_bytes,
    cpus,
    memory_limit_bytes,
)
from embconvert.request.records import Request
from embconvert.source.dimensions import dimensions_problem
from embconvert.source.kind import settle_kind


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A request with all that is known before work starts.

    Attributes:
        request: With the revision and pooling of the export that it continues.
        resolved: The source.
        plan: The steps.
        old: What is published.
    """

    request: Request
    resolved: ResolvedModel
    plan: Plan
    old: Manifest | None


def prepare(request: Request, target: Path, calibration: str, console: Console) -> Prepared:
    """Resolves the source and lays out the steps.

    Args:
        request: What is asked for.
        target: The output folder.
        calibration: Identifies the calibration texts.
        console: For messages.

    Raises:
        EmbconvertError: The source or the request will not do; nothing was started.
    """
    old = _published(target, console)
    if request.command in (Command.OPTIMIZE, Command.QUANTIZE) and old is not None:
        is_local = hub.local_folder(request.model_id) is not None
        request = request_from(old, request, is_local=is_local)
    resolved = settle_kind(request, hub.resolve(request, console))
    problem = dimensions_problem(request, resolved)
    if problem is not None:
        console.warn(problem)
    plan = make_plan(
        request,
        resolved,
        output_dir=str(target),
        available=[a.path for a in old.artifacts] if old else [],
        calibration_digest=calibration,
    )
    return Prepared(request=request, resolved=resolved, plan=plan, old=old)


def _published(target: Path, console: Console) -> Manifest | None:
    try:
        return read_manifest(target)
    except OlderManifest as error:
        console.warn(f"{error}; it is made again")
        return None
    except ValueError as error:
        console.warn(f"{error}; the folder counts as empty")
        return None


def describe(plan: Plan, *, as_json: bool) -> str:
    """Returns a plan for people, or as JSON."""
    if as_json:
        return json.dumps(plan.as_json(), indent=2)
    at = f" at {plan.revision}" if plan.revision else ""
    lines = [f"model     {one_line(plan.model_id)}{at}"]
    lines.append(f"folder    {one_line(plan.output_dir)}")
    for step in plan.steps:
        floor = "not verified" if step.is_published else "not published"
        if step.floor is not None:
            floor = f"mean {plan.measure} at least {step.floor.mean_cosine:g}"
        lines.append(f"{step.stage:<9} {step.file} ({floor})")
    if plan.search is not None:
        names = [name_of(step.precision, step.options.recipes) for step in plan.search.candidates]
        lines.append(f"auto      the first of {', '.join(names)} that keeps: {plan.search.budget}")
    return "\n".join([*lines, *map(one_line, plan.remarks)])


def warn_of_memory(plan: Plan, console: Console) -> None:
    """Tells of a container's limit below what the plan needs."""
    limit = memory_limit_bytes()
    if limit is not None and limit < plan.memory_need_bytes:
        console.warn(
            f"this needs about {plan.memory_need_bytes / 1e9:.1f} GB of memory, and the container "
            f"may use {limit / 1e9:.1f} GB; if it is killed, raise the limit"
        )


def is_short_of_memory(plan: Plan, console: Console) -> bool:
    """Whether graphs must be verified in pieces; says so."""
    available = available_memory_bytes()
    if not plan.verifies or plan.whole_graphs_bytes <= available:
        return False
    console.say(
        f"{available / 1e9:.1f} GB of memory: the source and the graphs are run layer by layer "
        f"(whole, they would take {plan.whole_graphs_bytes / 1e9:.1f} GB)"
    )
    return True


def has_room_for_two(plan: Plan, console: Console, *, in_pieces: bool) -> bool:
    """Whether a graph can be made beside something else; says so where memory forbids it.

    Args:
        plan: What is to be done.
        console: For messages.
        in_pieces: Whether the source and the graphs run layer by layer.
    """
    if cpus() < 2 or len(plan.steps) < 2:
        return False
    in_whole = plan.verifies and not in_pieces
    need = plan.whole_graphs_bytes if in_whole else plan.memory_need_bytes
    if need + plan.beside_bytes <= available_memory_bytes():
        return True
    console.say("little memory: one thing is done after the other")
    return False
