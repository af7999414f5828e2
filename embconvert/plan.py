"""From a request and a resolved model to the steps to run; data only."""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from embconvert.compat import oldest_for_precision
from embconvert.config import (
    Command,
    OptimizationLevel,
    Precision,
)
from embconvert.errors import SourceError, UsageError
from embconvert.fidelity.floors import Floor
from embconvert.kinds import KINDS, Kind, Measure
from embconvert.layouts import LAYOUTS, LayoutRules, check_layout
from embconvert.model import ResolvedModel
from embconvert.requests import Request
from embconvert.search import CANDIDATES, DEFAULT_FLOORS, Budget, needless
from embconvert.steps import (
    EXPORTED_FILE,
    WORK_FOLDER,
    Step,
    export_step,
    level_of,
    optimize_step,
    optimized_file,
    quantize_step,
)

#: The graphs that `quantize` prefers, best first; level 99 is bound to a machine.
_QUANTIZE_SOURCES = ("onnx/model_opt1.onnx", "onnx/model_opt2.onnx", EXPORTED_FILE)


@dataclass(frozen=True, kw_only=True)
class Search:
    """A file to make whose precision is found out.

    Attributes:
        candidates: What may be made, the smallest first; each floor lets everything pass.
        ruled_out: What may not, and why, by name.
        budget: What the chosen one must keep.
    """

    candidates: tuple[Step, ...]
    ruled_out: Mapping[str, str]
    budget: Budget


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The steps in order, with what the user should know beforehand.

    Attributes:
        model_id: What is converted.
        revision: The hub's commit, or None.
        output_dir: Where it goes.
        steps: In order; a step's source is an earlier step's file or lies there already.
        search: What is quantized by trial, after the steps; None for nothing.
        remarks: For the user.
        parameters: How many numbers the source's weights are.
        measure: What the floors are of.
        wide_values: See ResolvedModel.
    """

    model_id: str
    revision: str | None
    output_dir: str
    steps: tuple[Step, ...]
    remarks: tuple[str, ...]
    parameters: int
    search: Search | None = None
    measure: Measure = Measure.COSINE
    wide_values: int = 0

    @property
    def wide_bytes(self) -> int:
        """About how much memory the widest values of a batch take, three of them at a time.

        A text of 512 tokens is alone in its batch, if need be.
        """
        return 3 * 4 * 512 * self.wide_values

    @property
    def whole_graphs_bytes(self) -> int:
        """About how much memory verification takes that loads graphs whole.

        ONNX Runtime holds a graph's file, its weights and packed copies of them; the source's
        weights are read again for each batch.
        """
        return int(0.5e9 + 1.25 * 4 * self.parameters) + self.wide_bytes

    @property
    def memory_need_bytes(self) -> int:
        """About how much memory a container needs for this plan, page cache left out.

        An estimate on the safe side, by docs/memory.md: the libraries of the processes alive at
        once, and a share of the float32 weights, for they are read a layer at a time at most when
        memory is short.
        """
        verified = any(step.floor is not None for step in self.steps)
        usual = int((0.8e9 if verified else 0.6e9) + 0.05 * 4 * self.parameters)
        return usual + (self.wide_bytes if verified else 0)

    def disk_need_bytes(self, files: Collection[str] | None = None) -> int:
        """About how much room the output's disk must have before this plan starts.

        What the output folder has already stays there until the new files take its place.

        Args:
            files: Those that must be made; None means all of the plan.
        """
        steps = [step for step in self.steps if files is None or step.file in files]
        if self.search is not None:  # one file at a time
            largest = max(self.search.candidates, key=lambda s: s.file_bytes(self.parameters))
            steps.append(largest)
        made = sum(step.file_bytes(self.parameters) for step in steps)
        return made + max((step.work_bytes(self.parameters) for step in steps), default=0)

    def as_json(self) -> dict[str, Any]:
        """Returns the plan as plain JSON values."""
        return json.loads(json.dumps(asdict(self), default=str))  # type: ignore[no-any-return]


def make_plan(
    request: Request,
    resolved: ResolvedModel,
    *,
    output_dir: str,
    available: Collection[str],
    calibration_digest: str,
) -> Plan:
    """Lays out the steps of a request.

    Args:
        request: What is asked for.
        resolved: The source.
        output_dir: Where it goes.
        available: The graphs that the output folder has already.
        calibration_digest: Identifies the calibration texts.

    Raises:
        SourceError: `optimize` or `quantize` has nothing to work on.
        UsageError: The oldest ONNX Runtime asked for cannot run what is asked for, or the layout
            does not admit it.
    """
    remarks = []
    level = request.optimize
    source = EXPORTED_FILE
    if request.command in (Command.OPTIMIZE, Command.QUANTIZE):
        source = str(request.model_path or _available_source(request, available, output_dir))
    if request.command is Command.QUANTIZE:
        level = level_of(source)
        remarks.append(f"quantizing {source}")
    if request.command in (Command.OPTIMIZE, Command.ALL):
        if level is OptimizationLevel.NONE:
            remarks.append("--optimize 0: no optimized file is made")
        if level is OptimizationLevel.ALL:
            remarks.append("--optimize 99: the optimized file is bound to this kind of CPU")
    kind = resolved.kind
    steps = make_steps(request, calibration_digest, kind=kind, source=source, level=level)
    served = () if request.auto else steps[-1:]
    check_layout(request, max((s.file_bytes(resolved.parameters) for s in served), default=0))
    if request.no_float32:
        remarks.append("--no_float32: the float32 graphs are neither written nor verified")
    if request.skip_validation:
        remarks.append("--skip_validation: nothing is compared with the reference")
    return Plan(
        model_id=request.model_id,
        revision=resolved.revision,
        output_dir=output_dir,
        steps=steps,
        remarks=tuple(remarks),
        parameters=resolved.parameters,
        search=make_search(request, calibration_digest, kind=kind, source=source, level=level),
        measure=KINDS[kind].measure,
        wide_values=resolved.wide_values,
    )


def make_steps(
    request: Request,
    calibration_digest: str,
    *,
    kind: Kind = Kind.EMBEDDING,
    source: str = EXPORTED_FILE,
    level: OptimizationLevel | None = None,
) -> tuple[Step, ...]:
    """Returns the steps of a request; whether they can be done is not looked at.

    Args:
        request: What is asked for.
        calibration_digest: Identifies the calibration texts.
        kind: Of the model.
        source: The graph that the first step after the export works on.
        level: Of the graph that is quantized; None means the request's.
    """
    steps: list[Step] = []
    level = request.optimize if level is None else level
    if request.command in (Command.EXPORT, Command.ALL):
        steps.append(_intermediate(export_step(request, kind), request))
        source = steps[-1].file
    if request.command in (Command.OPTIMIZE, Command.ALL) and level is not OptimizationLevel.NONE:
        steps.append(_intermediate(optimize_step(request, kind, source), request))
        source = steps[-1].file
    for precision in request.quantize:
        steps.append(quantize_step(request, kind, source, level, precision, calibration_digest))
    served = None if request.auto else steps[-1] if steps else None
    return _placed(steps, LAYOUTS[request.layout], served)


def _placed(steps: Collection[Step], rules: LayoutRules, served: Step | None) -> tuple[Step, ...]:
    """Returns the steps with the file names of a layout.

    Final names must be known before anything is written: a graph names its external data.

    Args:
        steps: With the names that `hub` has.
        rules: Of the layout.
        served: The step whose graph a program loads that loads one.
    """
    names = {
        step.file: rules.place(step.file, step.precision, last=step is served) for step in steps
    }
    return tuple(
        replace(
            step,
            file=names[step.file],
            source=None if step.source is None else names.get(step.source, step.source),
        )
        for step in steps
    )


def _available_source(request: Request, available: Collection[str], output_dir: str) -> str:
    wanted = (EXPORTED_FILE,) if request.command is Command.OPTIMIZE else _QUANTIZE_SOURCES
    for file in wanted:
        if file in available:
            return file
    raise SourceError(
        f"{output_dir} has no {EXPORTED_FILE} that embconvert made",
        f"run first: embconvert export --model_id {request.model_id}; or give --model_path",
    )


def _intermediate(step: Step, request: Request) -> Step:
    """Returns a float32 step as one that is not published, when that is asked for."""
    if not request.no_float32:
        return step
    return replace(step, file=WORK_FOLDER + step.file.rpartition("/")[2], floor=None)


def make_search(
    request: Request,
    calibration_digest: str,
    *,
    kind: Kind = Kind.EMBEDDING,
    source: str = EXPORTED_FILE,
    level: OptimizationLevel | None = None,
) -> Search | None:
    """Lays out what --quantize auto tries; None when that is not asked for.

    Args:
        request: What is asked for.
        calibration_digest: Identifies the calibration texts.
        kind: Of the model.
        source: As of make_steps.
        level: Likewise.

    Raises:
        UsageError: The oldest ONNX Runtime asked for runs none of it.
    """
    if not request.auto:
        return None
    level = request.optimize if level is None else level
    if request.command is Command.ALL and level is not OptimizationLevel.NONE:
        source = optimized_file(level)
    measure = KINDS[kind].measure
    floor = DEFAULT_FLOORS[measure]
    if request.min_cosine is not None:
        floor = Floor(mean_cosine=request.min_cosine)
    budget = Budget(
        floor=floor, max_size=request.max_size, min_speedup=request.min_speedup, measure=measure
    )
    candidates: list[Step] = []
    ruled_out: dict[str, str] = {}
    rules = LAYOUTS[request.layout]
    if rules.newest_onnxruntime is not None:  # it is the oldest that must run the outcome
        asked = request.min_onnxruntime or rules.newest_onnxruntime
        request = replace(request, min_onnxruntime=min(asked, rules.newest_onnxruntime))
    oldest = request.min_onnxruntime
    q8_runs = oldest is None or oldest_for_precision(Precision.Q8, request.table_bits) <= oldest
    for precision, recipes in CANDIDATES:
        why = needless(precision, min_speedup=request.min_speedup, q8_runs=q8_runs)
        if why is not None:
            ruled_out[str(precision)] = why
            continue
        try:
            step = quantize_step(
                replace(request, recipes=recipes if request.recipes is None else request.recipes),
                kind, source, level, precision, calibration_digest,
            )  # fmt: skip
        except UsageError as error:
            ruled_out[str(precision)] = error.message
            continue
        (step,) = _placed([step], rules, step)
        # A file that a search chose is reused for the same search only.
        settings = {**step.settings, "budget": budget.as_json()}
        step = replace(step, floor=Floor(mean_cosine=-1.0), settings=settings)
        if step.settings not in [c.settings for c in candidates]:
            candidates.append(step)
    if not candidates:
        raise UsageError("--min_onnxruntime leaves --quantize auto nothing to try", "leave it out")
    return Search(candidates=tuple(candidates), ruled_out=ruled_out, budget=budget)
