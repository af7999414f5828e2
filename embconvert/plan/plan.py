"""From a request and a resolved model to the steps; data only."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from embconvert.errors import SourceError
from embconvert.fidelity.floors import Floor
from embconvert.manifest.layouts import LAYOUTS, check_layout
from embconvert.models.choices import Command, OptimizationLevel
from embconvert.models.kinds import KINDS, Kind, Measure
from embconvert.models.values import ResolvedModel
from embconvert.plan.converted import check_converted, converted_steps
from embconvert.plan.derived import check_forms, derived_steps
from embconvert.plan.requested_steps import export_step, optimize_step, quantize_step
from embconvert.plan.search import Search, make_search
from embconvert.plan.steps import EXPORTED_FILE, WORK_FOLDER, Stage, Step, level_of, placed
from embconvert.request.parsing import next_command
from embconvert.request.records import Request

#: The graphs that `quantize` can start from, best first; level 99 depends on the machine.
_QUANTIZE_SOURCES = ("onnx/model_opt1.onnx", "onnx/model_opt2.onnx", EXPORTED_FILE)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The steps of a run, and remarks for the user.

    Attributes:
        revision: Commit on the hub, or None.
        adapters: Merged with the model, as values of `--adapter`.
        steps: In order; a step's source is the file of an earlier step, or exists already.
        search: The search of `--quantize auto`, after the steps; None without it.
        parameters: Number of the source's parameters.
        measure: Of the floors.
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
    adapters: tuple[str, ...] = ()

    @property
    def all_steps(self) -> tuple[Step, ...]:
        """The steps, and the candidates of the search."""
        return (*self.steps, *(self.search.candidates if self.search else ()))

    @property
    def optimizes(self) -> bool:
        """Whether an optimized graph is made."""
        return any(step.stage is Stage.OPTIMIZE for step in self.steps)

    @property
    def verifies(self) -> bool:
        """Whether a graph of it is compared with the source."""
        return self.search is not None or any(step.floor is not None for step in self.steps)

    @property
    def wide_bytes(self) -> int:
        """Approximate memory for the three copies of a batch's widest values.

        A batch is reduced to a single text of 512 tokens if necessary.
        """
        return 3 * 4 * 512 * self.wide_values

    @property
    def whole_graphs_bytes(self) -> int:
        """Approximate memory of a verification that loads whole graphs.

        ONNX Runtime has the graph's file, the weights and packed copies of them in memory; the
        source's weights are read again for each batch.
        """
        return int(0.5e9 + 1.25 * 4 * self.parameters) + self.wide_bytes

    @property
    def memory_need_bytes(self) -> int:
        """Approximate memory that a container needs for this plan, without page cache.

        A conservative estimate, see docs/memory.md: the libraries of concurrent processes, and a
        part of the float32 weights, of which at most one layer is read at a time if memory is
        short.
        """
        usual = int((0.8e9 if self.verifies else 0.6e9) + 0.05 * 4 * self.parameters)
        return max(usual + (self.wide_bytes if self.verifies else 0), self.converted_bytes)

    @property
    def converted_bytes(self) -> int:
        """Approximate memory of a conversion to another program's format.

        OpenVINO has the file and the weights in memory, NNCF those of the new precision and the
        activations of a batch, too; without page cache, MiniLM needs 0.5 GB.
        """
        converts = any(f.rules.is_converted for step in self.steps for f in step.forms)
        return int(0.5e9 + 2.5 * 4 * self.parameters) + self.wide_bytes if converts else 0

    @property
    def beside_bytes(self) -> int:
        """Approximate additional memory for a graph made concurrently with something else."""
        return int(0.25e9 + 0.05 * 4 * self.parameters)

    def disk_need_bytes(self, files: Collection[str] | None = None) -> int:
        """Approximate space for these files, or all, beside the current ones, which are kept."""
        steps = [step for step in self.steps if files is None or step.file in files]
        if self.search is not None:  # one file at a time
            largest = max(self.search.candidates, key=lambda s: s.file_bytes(self.parameters))
            steps.append(largest)
        made = sum(step.file_bytes(self.parameters) for step in steps)
        return made + max((step.work_bytes(self.parameters) for step in steps), default=0)

    def as_json(self) -> dict[str, Any]:
        return json.loads(json.dumps(_plain(self), default=str, allow_nan=False))  # type: ignore[no-any-return]


def _plain(value: Any) -> Any:
    """Returns dataclasses as dictionaries of their fields; Floor has its own form."""
    if isinstance(value, Floor):
        return value.as_json()
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return list(map(_plain, value))
    return dict(value) if isinstance(value, Mapping) else value


def make_plan(
    request: Request,
    resolved: ResolvedModel,
    *,
    output_dir: str,
    available: Collection[str],
    calibration_digest: str,
) -> Plan:
    """Plans the steps of a request.

    Args:
        available: The graphs in the output folder.

    Raises:
        SourceError: There is no graph to optimize or quantize.
        UsageError: --min_onnxruntime or the layout does not support the request.
    """
    remarks: list[str] = []
    level = request.optimize
    source = EXPORTED_FILE
    if request.command in (Command.OPTIMIZE, Command.QUANTIZE):
        source = str(request.model_path or _available_source(request, available, output_dir))
    if request.command is Command.QUANTIZE:
        level = level_of(source)
        remarks.append(f"quantizing {source}")
    if request.command in (Command.OPTIMIZE, Command.ALL):
        if level is OptimizationLevel.NONE:
            remarks.append("--optimize 0: no optimized file is written")
        if level is OptimizationLevel.ALL:
            remarks.append("--optimize 99: the optimized file works only on this kind of CPU")
    kind = resolved.kind
    steps = make_steps(request, calibration_digest, kind=kind, source=source, level=level)
    check_forms(request, resolved, steps)
    served = () if request.auto else [step for step in steps if not step.forms][-1:]
    served_bytes = max((s.file_bytes(resolved.parameters) for s in served), default=0)
    check_layout(request, served_bytes, kind)
    remarks += check_converted(request)
    if request.skip_shape_inference and not any(s.stage is Stage.OPTIMIZE for s in steps):
        remarks.append("--skip_shape_inference: no graph is optimized, so it changes nothing")
    if request.no_float32:
        remarks.append("--no_float32: the float32 graphs are neither written nor verified")
    if request.skip_validation:
        remarks.append("--skip_validation: nothing is compared with the reference")
    return Plan(
        model_id=resolved.model_id,
        revision=resolved.revision,
        adapters=tuple(str(adapter.record.choice) for adapter in resolved.adapters),
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
    """Returns the steps of a request, without checking whether they can run.

    Args:
        source: The input of the first step after the export.
        level: Of the graph to quantize; None means the request's.
    """
    steps: list[Step] = []
    level = request.optimize if level is None else level
    if request.command in (Command.EXPORT, Command.ALL):
        steps.append(_intermediate(export_step(request, kind, calibration_digest), request))
        source = steps[-1].file
        if LAYOUTS[request.layout].form is not None:
            return (*steps, *converted_steps(request, kind, steps[0], calibration_digest))
    if request.command in (Command.OPTIMIZE, Command.ALL) and level is not OptimizationLevel.NONE:
        steps.append(_intermediate(optimize_step(request, kind, source), request))
        source = steps[-1].file
    for precision in request.quantize:
        steps.append(quantize_step(request, kind, source, level, precision, calibration_digest))
    served = None if request.auto else steps[-1] if steps else None
    made = placed(steps, LAYOUTS[request.layout], served)
    return made if request.auto else (*made, *derived_steps(request, made))


def _available_source(request: Request, available: Collection[str], output_dir: str) -> str:
    wanted = (EXPORTED_FILE,) if request.command is Command.OPTIMIZE else _QUANTIZE_SOURCES
    for file in wanted:
        if file in available:
            return file
    raise SourceError(
        f"{output_dir} has no {EXPORTED_FILE} made by embconvert",
        f"first run: {next_command(request, Command.EXPORT)}; or use --model_path",
    )


def _intermediate(step: Step, request: Request) -> Step:
    """Returns a float32 step as an unpublished one if --no_float32 is given."""
    if not request.no_float32:
        return step
    return replace(step, file=WORK_FOLDER + step.file.rpartition("/")[2], floor=None)
