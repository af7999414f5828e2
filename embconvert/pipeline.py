"""Runs a plan: every file is made, verified and noted; at the end all are published at once."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from embconvert import hub
from embconvert.config import Command, Output, PoolingMode, Precision
from embconvert.console import Console
from embconvert.errors import (
    EmbconvertError,
    ExportError,
    FidelityError,
    OptimizeError,
    QuantizeError,
    UnsupportedModelError,
    UsageError,
)
from embconvert.export import Exporter
from embconvert.fidelity.figures import Fidelity, shortfall
from embconvert.fidelity.texts import calibration_texts
from embconvert.fidelity.verifier import Source, Verifier
from embconvert.folder.consumer_files import adapt_to_layout
from embconvert.folder.disk import output_errors, refuse_full_disk
from embconvert.folder.published import is_whole, read_manifest
from embconvert.folder.staging import Staging
from embconvert.kinds import KINDS
from embconvert.layouts import LAYOUTS, misfit
from embconvert.ledger import Ledger, make_record
from embconvert.manifest import (
    ArtifactRecord,
    Manifest,
    fused_words,
    table_header,
    table_rows,
)
from embconvert.model import (
    Fusion,
    KeptNode,
    OnnxArtifact,
    OptimizedModel,
    QuantizedModel,
    ResolvedModel,
)
from embconvert.optimize import Optimizer
from embconvert.plan import EXPORTED_FILE, Plan, Search, Stage, Step, make_plan
from embconvert.processes.metering import Meter
from embconvert.processes.resources import available_memory_bytes, limit_threads, memory_limit_bytes
from embconvert.processes.workers import WorkerCrashed, Workers, Zygotes
from embconvert.reporting.pages import users_pages, write_pages
from embconvert.requests import Finished, Request
from embconvert.search import (
    Budget,
    Candidate,
    frontier_header,
    frontier_rows,
    name_of,
    search_record,
)
from embconvert.source.folder import CONFIGURATION_FILES, dimensions_problem
from embconvert.source.kind import settle_kind
from embconvert.source.torch_model import check_device
from embconvert.tasks import Calibration, optimize_graph, quantize_graph


def convert(request: Request, zygotes: Zygotes | None = None) -> Finished:
    """Runs a request.

    Args:
        request: What to do.
        zygotes: What to fork workers from; for those who convert many models.

    Returns:
        For stdout the output folder's path; with `json` the manifest; with `dry_run` the plan.

    Raises:
        EmbconvertError: Something is wrong; what was published before is still there.
    """
    console = Console(quiet=request.quiet, debug=request.debug)
    target = hub.output_folder(request)
    calibration = calibration_texts(request.calibration_dataset)
    check_device(request.device)
    if request.dry_run:
        plan = _prepare(request, target, calibration.digest, console).plan
        return Finished(text=_describe(plan, as_json=request.json))
    limit_threads()
    with Staging(target, console.say) as staging, Workers(console, zygotes=zygotes) as workers:
        if request.command in (Command.EXPORT, Command.ALL) and not target.exists():
            workers.prepare_for_source()
        # Only now, because a run that this one waited for may have published.
        prepared = _prepare(request, target, calibration.digest, console)
        for remark in prepared.plan.remarks:
            console.say(remark)
        _warn_of_memory(prepared.plan, console)
        with output_errors(target):
            manifest = _Run(prepared, staging, workers, console).execute()
    text = json.dumps(manifest.as_json(), indent=2) if request.json else str(target)
    return Finished(text=text)


@dataclass(frozen=True, kw_only=True)
class _Prepared:
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


def _prepare(request: Request, target: Path, calibration: str, console: Console) -> _Prepared:
    old = _published(target, console)
    if request.command in (Command.OPTIMIZE, Command.QUANTIZE) and old is not None:
        request = _continuing(request, old)
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
    return _Prepared(request=request, resolved=resolved, plan=plan, old=old)


def _is_short_of_memory(plan: Plan, console: Console) -> bool:
    """Whether graphs must be verified in pieces; says so."""
    available = available_memory_bytes()
    verified = any(step.floor is not None for step in plan.steps)
    if not verified or plan.whole_graphs_bytes <= available:
        return False
    console.say(
        f"{available / 1e9:.1f} GB of memory: the source and the graphs are run layer by layer "
        f"(whole, they would take {plan.whole_graphs_bytes / 1e9:.1f} GB)"
    )
    return True


def _warn_of_memory(plan: Plan, console: Console) -> None:
    limit = memory_limit_bytes()
    if limit is not None and limit < plan.memory_need_bytes:
        console.warn(
            f"this needs about {plan.memory_need_bytes / 1e9:.1f} GB of memory, and the container "
            f"may use {limit / 1e9:.1f} GB; if it is killed, raise the limit"
        )


def _published(target: Path, console: Console) -> Manifest | None:
    try:
        return read_manifest(target)
    except ValueError as error:
        console.warn(f"{error}; the folder counts as empty")
        return None


def _continuing(request: Request, old: Manifest) -> Request:
    """Returns the request for the revision, layout and overrides that the export was made with."""
    pooling = old.source.get("pooling_override")
    revision = old.source.get("revision") if hub.local_folder(request.model_id) is None else None
    return replace(
        request,
        revision=revision,
        task=KINDS[old.kind].task,
        layout=old.layout,
        output=Output(old.source.get("output", Output.BOTH)),
        pooling=PoolingMode(pooling) if pooling else None,
        normalize=bool(old.source.get("normalize_override")),
        dimensions=old.source.get("dimensions_override"),
    )


def _describe(plan: Plan, *, as_json: bool) -> str:
    if as_json:
        return json.dumps(plan.as_json(), indent=2)
    lines = [f"model     {plan.model_id}" + (f" at {plan.revision}" if plan.revision else "")]
    lines.append(f"folder    {plan.output_dir}")
    for step in plan.steps:
        floor = "not verified" if step.is_published else "not published"
        if step.floor is not None:
            floor = f"mean {plan.measure} at least {step.floor.mean_cosine:g}"
        lines.append(f"{step.stage:<9} {step.file} ({floor})")
    if plan.search is not None:
        names = [name_of(step.precision, step.options.recipes) for step in plan.search.candidates]
        lines.append(f"auto      the first of {', '.join(names)} that keeps: {plan.search.budget}")
    return "\n".join([*lines, *plan.remarks])


class _Run:
    """One run of a plan in a staging folder."""

    def __init__(
        self, prepared: _Prepared, staging: Staging, workers: Workers, console: Console
    ) -> None:
        request, resolved, old = prepared.request, prepared.resolved, prepared.old
        self._request = request
        self._resolved = resolved
        self._plan = prepared.plan
        self._staging = staging
        self._old = old
        self._console = console
        self._ledger = Ledger(request, resolved, staging, old, console)
        self._workers = workers
        self._source = Source(request, resolved, staging.folder, workers, console)
        self._verifier = Verifier(
            self._source,
            workers,
            console,
            skipped=request.skip_validation,
            layer_by_layer=_is_short_of_memory(self._plan, console),
            flop_per_token=0.0 if self._request.full_validation else self._resolved.flop_per_token,
        )
        self._verified: set[str] = set()

    def execute(self) -> Manifest:
        """Runs the steps and publishes; returns the manifest.

        Raises:
            OutputError: The disk is too small for what must be made; nothing was started.
            UsageError: A file needs a newer ONNX Runtime than asked for; nothing is published.
            OptimizeError: A graph could not be made. The others are published, unless that would
            QuantizeError: take away what was there.
            FidelityError: A graph drifted past its floor. Likewise.
            EmbconvertError: The export failed; nothing is published.
        """
        unmade = self._ledger.unmade(self._plan.steps)
        refuse_full_disk(self._staging.target, self._plan.disk_need_bytes(unmade))
        self._copy_source_files()
        failures: list[EmbconvertError] = []
        for step in self._plan.steps:
            if not step.is_published and step.file not in unmade:
                continue
            try:
                record = self._reuse(step) or self._make(step)
            except (OptimizeError, QuantizeError, FidelityError) as failure:
                failures.append(failure)
                if step.stage is not Stage.QUANTIZE:
                    break  # what remains would be made of this file
                continue
            _refuse_too_new(record, self._request)
            self._ledger.records[step.file] = record
            self._staging.write_manifest(self._manifest())
        if self._plan.search is not None and not failures:
            record = self._search(self._plan.search)
            self._ledger.records[record.path] = record
        self._ledger.keep_published()
        self._adapt_to_layout()
        manifest = self._manifest()
        if not failures:
            return self._publish(manifest)
        for other in failures[1:]:
            self._console.warn(other.message)
        if self._ledger.adds_to_published():
            self._publish(manifest)
        raise failures[0]

    def _manifest(self) -> Manifest:
        return self._ledger.manifest(self._verifier.facts())

    def _publish(self, manifest: Manifest) -> Manifest:
        """Publishes what stands, with its pages; returns the manifest."""
        old, target = self._old, self._staging.target
        if (
            old is not None
            and manifest.describes_the_same(old)
            and is_whole(target, old, contents=True)
        ):
            self._console.say(f"{target} is up to date; nothing was done again")
            manifest = replace(manifest, commands=old.commands, pages=old.pages)
        else:
            users = users_pages(target, old)
            for file in sorted(users):
                self._console.say(f"{target / file} is yours and stays as it is")
            manifest = write_pages(manifest, self._staging.folder, name=target.name, keep=users)
            if old is not None:  # what no manifest lists stays
                old = replace(old, pages=tuple(p for p in old.pages if p.path not in users))
            self._staging.publish(manifest, old)
        self._console.table(
            f"{self._plan.model_id} -> {self._staging.target}",
            table_header(manifest.measure),
            table_rows(manifest.artifacts),
        )
        return manifest

    def _adapt_to_layout(self) -> None:
        rules = LAYOUTS[self._request.layout]
        adapt_to_layout(
            self._staging.folder,
            rules,
            self._resolved,
            self._ledger.records.values(),
            self._source.max_seq_length,
        )
        facts = self._ledger.source_facts
        modules = set(facts.get("modules", ())) - {"Transformer", "Pooling", "Normalize"}
        others = (set(facts.get("pooling", ())) - set(rules.pools)) | modules
        if rules.pools and others:
            self._console.warn(
                f"{rules.consumer} pools output 0 itself, by {' or '.join(rules.pools)}; this "
                f"model does otherwise ({', '.join(sorted(others))}), so its vectors there differ"
            )

    def _copy_source_files(self) -> None:
        """Stages the source's tokenizer, configuration and module files, without its weights."""
        for file in self._resolved.files:
            path = Path(file.path)
            in_module = len(path.parts) > 1 and not path.name.startswith("model.safetensors")
            if path.name in CONFIGURATION_FILES or in_module or path.suffix == ".py":
                self._staging.add(self._resolved.folder / path, file.path)
        if self._old is not None and self._request.command in (Command.OPTIMIZE, Command.QUANTIZE):
            self._ledger.add_files(self._old, self._staging.target)

    def _search(self, search: Search) -> ArtifactRecord:
        """Makes the smallest candidate that keeps the budget.

        Raises:
            FidelityError: None keeps it.
        """
        for step in search.candidates:
            found = self._ledger.find(step)
            if found is not None and found.fidelity is not None:
                self._console.say(f"auto: {step.file} is there already")
                return found
        float32 = self._ledger.source_of(search.candidates[0]).total_size_bytes
        tried = [Candidate(name=n, outcome=why) for n, why in search.ruled_out.items()]
        best: ArtifactRecord | None = None
        for step in search.candidates:
            name = name_of(step.precision, step.options.recipes)
            if best is not None:
                tried.append(Candidate(name=name, outcome="not tried: it would be larger"))
                continue
            if search.budget.cannot_fit(step.file_bytes(self._plan.parameters), float32):
                tried.append(Candidate(name=name, outcome="not tried: it would be too large"))
                continue
            self._console.say(f"auto: trying {name}")
            candidate, record = self._try(step, name, search.budget, float32)
            tried.append(candidate)
            if record is not None and candidate.outcome is None:
                best = record
            else:
                self._staging.discard(step.file)
        self._console.table(
            f"auto: {search.budget}",
            frontier_header(search.budget.measure),
            frontier_rows(tried, float32),
        )
        if best is None:
            raise FidelityError(
                f"nothing that was tried keeps the budget: {search.budget}; nothing is published",
                "the table above shows what there is; ask for less with --min_cosine, --max_size "
                "or --min_speedup",
            )
        self._ledger.search = search_record(search.budget, tried)
        return best

    def _try(
        self, step: Step, name: str, budget: Budget, float32_bytes: int
    ) -> tuple[Candidate, ArtifactRecord | None]:
        """Makes and measures a candidate; what fails is an outcome, too."""
        try:
            record = self._attempt(step, str(step.precision))
            _refuse_too_new(record, self._request)
        except (QuantizeError, FidelityError, UsageError) as failure:
            return Candidate(name=name, outcome=failure.message), None
        assert record.fidelity is not None
        base = self._ledger.records.get(EXPORTED_FILE)
        speedup = None
        if base is not None and base.fidelity is not None:
            speedup = record.fidelity.texts_per_second / base.fidelity.texts_per_second
        candidate = Candidate(
            name=name,
            size_bytes=record.total_size_bytes,
            fidelity=record.fidelity,
            speedup=speedup,
            outcome=budget.violation(
                record.total_size_bytes, record.fidelity, speedup, float32_bytes
            ),
        )
        return candidate, record

    def _reuse(self, step: Step) -> ArtifactRecord | None:
        """Returns the step's outcome from an earlier run, verified, or None.

        Raises:
            FidelityError: It falls short of this run's floor.
        """
        record = self._ledger.find(step)
        if record is None:
            return None
        if step.floor is not None and record.fidelity is None:
            artifact = self._ledger.artifact(record)
            record = replace(record, fidelity=self._verify(artifact, step.file))
        _refuse_shortfall(step, record.fidelity)
        self._console.say(f"{step.stage}: {step.file} is there already")
        return record

    def _make(self, step: Step) -> ArtifactRecord:
        """Makes a step's file by the first of its methods whose outcome holds.

        Raises:
            FidelityError: None holds.
            UnsupportedModelError: No exporter gives a right graph.
            EmbconvertError: A stage fails.
        """
        methods: tuple[str, ...] = {
            Stage.EXPORT: tuple(Exporter),
            Stage.OPTIMIZE: tuple(Optimizer),
            Stage.QUANTIZE: (str(step.precision),),
        }[step.stage]
        self._console.say(f"{step.stage}: {step.file}")
        reasons: list[str] = []
        for method, following in zip(methods, [*methods[1:], None], strict=True):
            try:
                record = self._attempt(step, method)
            except (FidelityError, UnsupportedModelError) as failure:
                reasons.append(failure.message)
                if following is not None:
                    self._console.warn(f"{failure.message}; trying {following} instead")
                    continue
                if step.stage is Stage.EXPORT:
                    raise UnsupportedModelError("; ".join(reasons), failure.hint) from failure
                raise
            self._report(step, record)
            return record
        raise AssertionError("a stage has at least one method")

    def _attempt(self, step: Step, method: str) -> ArtifactRecord:
        path = self._staging.path(step.file)
        path.unlink(missing_ok=True)
        source = None if step.source is None else self._ledger.source_of(step)
        fusions: tuple[Fusion, ...] = ()
        kept: tuple[KeptNode, ...] = ()
        if source is None:
            artifact, meter = self._source.export(
                path,
                opset=int(step.settings["opset"]),
                exporter=Exporter(method),
                keep_weights_apart=not step.is_published,
            )
        else:
            made, meter = self._run_stage(step, method, path, source)
            artifact = made.artifact
            if isinstance(made, OptimizedModel):
                fusions = made.fusions
            else:
                kept = made.kept
        problem = misfit(self._request.layout, step.file, artifact)
        if problem is not None:
            errors = {Stage.EXPORT: ExportError, Stage.OPTIMIZE: OptimizeError}
            raise errors.get(step.stage, QuantizeError)(
                problem, "choose another precision or --optimize level, or --layout hub"
            )
        fidelity = None
        if step.floor is not None:
            if source is not None:
                self._refresh_baseline()
            fidelity = self._verify(artifact, step.file)
            _refuse_shortfall(step, fidelity)
        elif not (step.is_published or self._request.skip_validation):
            self._verifier.prepare()
        if source is None and self._source.facts is not None:
            self._ledger.source_facts = asdict(self._source.facts)
            self._source.close()
        return make_record(
            step,
            artifact,
            method=method,
            key=self._ledger.key(step),
            made_from=source.sha256 if source else None,
            fidelity=fidelity,
            meter=meter,
            fusions=fusions,
            kept=kept,
        )

    def _run_stage(
        self, step: Step, method: str, path: Path, source: OnnxArtifact
    ) -> tuple[OptimizedModel | QuantizedModel, Meter]:
        """Optimizes or quantizes in a process of its own.

        Raises:
            OptimizeError: The process ended while optimizing.
            QuantizeError: The process ended while quantizing.
        """
        named: dict[str, Any] = {
            "level": step.level,
            "work": self._staging.work,
        }
        error: type[EmbconvertError] = OptimizeError
        task: Callable[..., Any] = optimize_graph
        if step.stage is Stage.OPTIMIZE:
            named |= {
                "optimizer": Optimizer(method),
                "keep_weights_apart": not step.is_published,
                "skip_shape_inference": self._request.skip_shape_inference,
            }
        else:
            error, task = QuantizeError, quantize_graph
            named |= {
                "precision": step.precision,
                "options": step.options,
                "calibration": Calibration(
                    dataset=self._request.calibration_dataset,
                    folder=self._staging.folder,
                    max_seq_length=self._source.max_seq_length,
                    kind=self._resolved.kind,
                ),
            }
        try:
            with self._workers.take() as worker:
                made, meter = worker.call(task, source, path, **named)
            return made, meter
        except WorkerCrashed as crash:
            raise error(
                f"{step.file} could not be made: {crash}",
                "give it more memory" if crash.out_of_memory else "please report the model",
            ) from crash

    def _refresh_baseline(self) -> None:
        """Verifies an export of an earlier run once more, so that speeds of one run compare."""
        if EXPORTED_FILE in self._verified:
            return
        record = self._ledger.published(EXPORTED_FILE)
        if record is not None:
            figures = self._verify(self._ledger.artifact(record), EXPORTED_FILE)
            self._ledger.records[EXPORTED_FILE] = replace(record, fidelity=figures)

    def _verify(self, artifact: OnnxArtifact, file: str) -> Fidelity:
        self._verified.add(file)
        export = self._ledger.records.get(EXPORTED_FILE)
        baseline = self._ledger.artifact(export) if export and file != EXPORTED_FILE else None
        return self._verifier.verify(artifact, file, baseline)

    def _report(self, step: Step, record: ArtifactRecord) -> None:
        if step.stage is not Stage.OPTIMIZE:
            return
        self._console.say(f"fused: {fused_words(record.fusions) or 'nothing'}")
        if not any(fusion.fused for fusion in record.fusions):
            self._console.warn(f"{step.file}: no rule knows an operator of this graph")
        for fusion in record.fusions:
            for reason, count in fusion.left.items():
                left = f"{count} of {fusion.found} {fusion.kind} left as they were"
                self._console.warn(f"{step.file}: {left}: {reason}")


def _refuse_too_new(record: ArtifactRecord, request: Request) -> None:
    """Raises UsageError when --min_onnxruntime cannot run a file."""
    oldest = request.min_onnxruntime
    if oldest is not None and not record.runs_on(oldest):
        raise UsageError(
            f"{record.path} needs ONNX Runtime {record.min_onnxruntime}, and --min_onnxruntime is "
            f"{oldest[0]}.{oldest[1]}",
            "try --opset 17, or --optimize 0",
        )


def _refuse_shortfall(step: Step, fidelity: Fidelity | None) -> None:
    """Raises FidelityError when a graph is below the step's floor."""
    if step.floor is None or fidelity is None:
        return
    problem = shortfall(fidelity, step.floor)
    if problem is None:
        return
    hint = "the source model and this file disagree; please report the model"
    if step.precision is not Precision.FLOAT32:
        reachable = max(0.0, fidelity.mean_cosine - 0.005)
        hint = f"try another precision, as Float16; or accept it with --min_cosine {reachable:.2f}"
    raise FidelityError(f"{step.file} is not published: {problem}", hint)
