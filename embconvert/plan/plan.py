"""From a request and a resolved model to the steps to run; data only."""

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from typing import Any

from embconvert.errors import SourceError
from embconvert.manifest.layouts import LAYOUTS, check_layout
from embconvert.models.choices import (
    Command,
    OptimizationLevel,
)
from embconvert.models.kinds import KINDS, Kind, Measure
from embconvert.models.values import ResolvedModel
from embconvert.plan.search import Search, make_search
from embconvert.plan.steps import (
    EXPORTED_FILE,
    WORK_FOLDER,
    Step,
    export_step,
    level_of,
    optimize_step,
    placed,
    quantize_step,
)
from embconvert.request.records import Request

#: The graphs that `quantize` prefers, best first; level 99 is bound to a machine.
_QUANTIZE_SOURCES = ("onnx/model_opt1.onnx", "onnx/model_opt2.onnx", EXPORTED_FILE)


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
    def verifies(self) -> bool:
        """Whether a graph of it is compared with the source."""
        return any(step.floor is not None for step in self.steps)

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
        usual = int((0.8e9 if self.verifies else 0.6e9) + 0.05 * 4 * self.parameters)
        return usual + (self.wide_bytes if self.verifies else 0)

    @property
    def beside_bytes(self) -> int:
        """About how much more memory it takes to make a graph beside something else."""
        return int(0.25e9 + 0.05 * 4 * self.parameters)

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
    return placed(steps, LAYOUTS[request.layout], served)


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
