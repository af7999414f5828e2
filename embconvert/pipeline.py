"""Runs a plan: every file is made, verified and noted; at the end all are published at once."""

import json
import os
import platform
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from embconvert import __version__, hub
from embconvert.artifacts import Staging, output_errors, read_manifest
from embconvert.config import Command, PoolingMode, Precision, Request
from embconvert.console import Console
from embconvert.errors import EmbconvertError, FidelityError, SourceError, UnsupportedModelError
from embconvert.export import Exporter, export
from embconvert.fidelity import shortfall
from embconvert.metering import metered
from embconvert.model import ExportedModel, OnnxArtifact, OptimizedModel, ResolvedModel
from embconvert.onnx_file import read_artifact
from embconvert.optimize import Optimizer, optimize
from embconvert.plan import EXPORTED_FILE, Plan, Stage, Step, make_plan
from embconvert.quantize import quantize
from embconvert.quantize.settings import QuantizeSettings
from embconvert.report import (
    TABLE_HEADER,
    ArtifactRecord,
    Manifest,
    table_rows,
)
from embconvert.source import CONFIGURATION_FILES
from embconvert.source_model import check_device
from embconvert.texts import calibration_texts
from embconvert.verification import Verifier

_STACK = (
    "torch", "transformers", "sentence-transformers", "optimum", "onnx", "onnx-ir", "onnxruntime",
    "onnxconverter-common", "tokenizers", "numpy",
)  # fmt: skip


def convert(request: Request) -> str:
    """Runs a request.

    Args:
        request: What to do.

    Returns:
        What goes to stdout: the output folder's path; with `json` the manifest; with `dry_run`
        the plan.

    Raises:
        EmbconvertError: Something is wrong; what was published before is still there.
    """
    console = Console(quiet=request.quiet, debug=request.debug)
    target = hub.output_folder(request)
    calibration = calibration_texts(request.calibration_dataset)
    check_device(request.device)
    old = _published(target, console)
    if request.command in (Command.OPTIMIZE, Command.QUANTIZE) and old is not None:
        request = _continuing(request, old)
    resolved = hub.resolve(request)
    plan = make_plan(
        request,
        resolved,
        output_dir=str(target),
        available=[a.path for a in old.artifacts] if old else [],
        calibration_digest=calibration.digest,
    )
    if request.dry_run:
        return _describe(plan, as_json=request.json)
    for remark in plan.remarks:
        console.say(remark)
    with Staging(target, console.say) as staging, output_errors(target):
        manifest = _Run(request, resolved, plan, staging, old, console).execute()
    return json.dumps(manifest.as_json(), indent=2) if request.json else str(target)


def _published(target: Path, console: Console) -> Manifest | None:
    try:
        return read_manifest(target)
    except ValueError as error:
        console.warn(f"{error}; the folder counts as empty")
        return None


def _continuing(request: Request, old: Manifest) -> Request:
    """Returns the request for the revision and the pooling that the export was made with."""
    pooling = old.source.get("pooling_override")
    revision = old.source.get("revision") if hub.local_folder(request.model_id) is None else None
    return replace(
        request, revision=revision, pooling=PoolingMode(pooling) if pooling else None
    )


def _describe(plan: Plan, *, as_json: bool) -> str:
    if as_json:
        return json.dumps(plan.as_json(), indent=2)
    lines = [f"model     {plan.model_id}" + (f" at {plan.revision}" if plan.revision else "")]
    lines.append(f"folder    {plan.output_dir}")
    for step in plan.steps:
        floor = "not verified"
        if step.floor is not None:
            floor = f"mean cosine at least {step.floor.mean_cosine:g}"
        lines.append(f"{step.stage:<9} {step.file} ({floor})")
    return "\n".join([*lines, *plan.remarks])


class _Run:
    """One run of a plan in a staging folder."""

    def __init__(
        self,
        request: Request,
        resolved: ResolvedModel,
        plan: Plan,
        staging: Staging,
        old: Manifest | None,
        console: Console,
    ) -> None:
        self._request = request
        self._resolved = resolved
        self._plan = plan
        self._staging = staging
        self._old = old
        self._console = console
        self._stack = {name: metadata.version(name) for name in _STACK}
        self._records: dict[str, ArtifactRecord] = {}
        self._reused: set[str] = set()
        self._verifier = Verifier(request, resolved, staging.folder, console)
        self._source_facts: dict[str, Any] = {}

    def execute(self) -> Manifest:
        """Runs the steps and publishes; returns the manifest.

        Raises:
            FidelityError: A graph drifted past its floor; the others are published.
        """
        journal = self._staging.journal()
        self._copy_source_files()
        failures: list[EmbconvertError] = []
        for step in self._plan.steps:
            try:
                self._records[step.file] = self._reuse(step, journal) or self._make(step)
            except FidelityError as failure:
                if step.stage is not Stage.QUANTIZE:
                    raise
                failures.append(failure)
                continue
            self._staging.write_manifest(self._manifest())
        self._keep_published()
        manifest = self._manifest()
        if failures and (not self._records or self._replaces_published()):
            raise failures[0]
        if self._old is not None and self._unchanged(manifest, self._old):
            self._console.say(f"{self._staging.target} is up to date; nothing was done again")
        else:
            self._staging.publish(manifest, self._old)
        self._console.table(
            f"{self._plan.model_id} -> {self._staging.target}",
            TABLE_HEADER,
            table_rows(manifest.artifacts),
        )
        if failures:
            raise failures[0]
        return manifest

    # The files beside the graphs

    def _copy_source_files(self) -> None:
        """Stages the source's tokenizer, configuration and module files, without its weights."""
        for file in self._resolved.files:
            path = Path(file.path)
            in_module = len(path.parts) > 1 and path.name != "model.safetensors.index.json"
            if path.name in CONFIGURATION_FILES or in_module or path.suffix == ".py":
                self._staging.add(self._resolved.folder / path, file.path)
        if self._old is not None and self._request.command in (Command.OPTIMIZE, Command.QUANTIZE):
            for record in self._old.files:  # what export made of a source that lacked them
                published = self._staging.target / record.path
                if published.is_file():
                    self._staging.add(published, record.path)

    # Finding what is finished

    def _reuse(self, step: Step, journal: Manifest | None) -> ArtifactRecord | None:
        """Returns the step's outcome from an earlier run, verified, or None."""
        key = self._key(step)
        for manifest, folder in (
            (journal, self._staging.folder),
            (self._old, self._staging.target),
        ):
            for record in manifest.artifacts if manifest else ():
                if record.key != key or record.path != step.file:
                    continue
                if not self._staging.adopt(record, folder):
                    self._console.warn(f"{step.file} was changed since it was made; made anew")
                    continue
                if manifest is not None and step.stage is Stage.EXPORT:
                    self._source_facts = dict(manifest.source)
                    for file in manifest.files:
                        if (folder / file.path).is_file():
                            self._staging.add(folder / file.path, file.path)
                if step.floor is not None and record.fidelity is None:
                    artifact = self._artifact(record)
                    record = replace(record, fidelity=self._verifier.verify(artifact, step.file))
                self._refuse_shortfall(step, record)
                self._reused.add(step.file)
                self._console.say(f"{step.file}: reused")
                return record
        return None

    def _key(self, step: Step) -> str:
        stack = {**self._stack, "embconvert": __version__}
        return step.key(self._source_digest(step), stack)

    def _source_digest(self, step: Step) -> str:
        return self._resolved.digest if step.source is None else self._source_of(step).digest

    def _source_of(self, step: Step) -> OnnxArtifact:
        """Returns the graph that a step works on.

        Raises:
            SourceError: It is missing, no ONNX, or not what the manifest says.
        """
        assert step.source is not None
        if step.source in self._records:
            return self._artifact(self._records[step.source])
        if self._request.model_path is not None:
            try:
                return read_artifact(self._request.model_path)
            except OSError as error:
                raise SourceError(
                    f"--model_path {step.source}: {error.strerror}", "check the path"
                ) from error
            except ValueError as error:
                raise SourceError(
                    str(error), "give an ONNX file with its external data beside it"
                ) from error
        assert self._old is not None
        record = next(a for a in self._old.artifacts if a.path == step.source)
        if not self._staging.adopt(record, self._staging.target):
            raise SourceError(
                f"{step.source} is not the file that the manifest lists",
                f"run again: embconvert export --model_id {self._request.model_id}",
            )
        return self._artifact(record)

    def _artifact(self, record: ArtifactRecord) -> OnnxArtifact:
        return OnnxArtifact(
            path=self._staging.folder / record.path,
            sha256=record.sha256,
            size_bytes=record.size_bytes,
            external_data=record.external_data,
            opset=record.opset,
            inputs=record.inputs,
            outputs=record.outputs,
            operators=record.operators,
            min_onnxruntime=record.min_onnxruntime,
        )

    # Making what is not

    def _make(self, step: Step) -> ArtifactRecord:
        """Makes a step's file by the first of its methods whose outcome holds.

        Raises:
            FidelityError: None holds.
            EmbconvertError: The last method fails.
        """
        methods: tuple[str, ...] = {
            Stage.EXPORT: tuple(Exporter),
            Stage.OPTIMIZE: tuple(Optimizer),
            Stage.QUANTIZE: (str(step.precision),),
        }[step.stage]
        self._console.say(f"{step.stage}: {step.file}")
        reasons: list[str] = []
        for method in methods:
            last = method == methods[-1]
            try:
                record = self._attempt(step, method)
                self._refuse_shortfall(step, record)
            except (FidelityError, UnsupportedModelError) as failure:
                reasons.append(failure.message)
                if not last:
                    self._console.warn(f"{failure.message}; trying {methods[-1]} instead")
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
        source = None if step.source is None else self._source_of(step)
        if source is None:
            self._verifier.load_source()
        with metered() as meter:
            artifact = self._run_stage(step, method, path, source)
        fidelity = None
        if step.floor is not None:
            if step.stage is not Stage.EXPORT:
                self._refresh_baseline()
            fidelity = self._verifier.verify(artifact, step.file)
        if source is None:
            self._source_facts = self._verifier.finish_export()
        return _record(step, method, artifact, source, fidelity, self._key(step), meter)

    def _run_stage(
        self, step: Step, method: str, path: Path, source: OnnxArtifact | None
    ) -> OnnxArtifact:
        if source is None:
            return export(
                self._verifier.load_source(),
                path,
                opset=int(step.settings["opset"]),
                exporter=Exporter(method),
            ).artifact
        if step.stage is Stage.OPTIMIZE:
            return optimize(
                ExportedModel(artifact=source),
                path,
                level=step.level,
                architecture=self._resolved.architecture,
                optimizer=Optimizer(method),
                skip_shape_inference=self._request.skip_shape_inference,
                work=self._staging.work,
            ).artifact
        settings = QuantizeSettings(
            level=step.level,
            per_channel=self._request.per_channel,
            reduce_range=self._request.reduce_range,
            skip_shape_inference=self._request.skip_shape_inference,
            calibration=self._verifier.calibration_feeds,
            work=self._staging.work,
        )
        return quantize(
            OptimizedModel(artifact=source, level=step.level),
            path,
            precision=step.precision,
            settings=settings,
        ).artifact

    def _refresh_baseline(self) -> None:
        """Verifies a reused export once more, so that speeds of one run are compared."""
        if EXPORTED_FILE in self._reused:
            self._reused.remove(EXPORTED_FILE)
            record = self._records[EXPORTED_FILE]
            figures = self._verifier.verify(self._artifact(record), EXPORTED_FILE)
            self._records[EXPORTED_FILE] = replace(record, fidelity=figures)

    def _refuse_shortfall(self, step: Step, record: ArtifactRecord) -> None:
        if step.floor is None or record.fidelity is None:
            return
        problem = shortfall(record.fidelity, step.floor)
        if problem is None:
            return
        hint = "the source model and this file disagree; please report the model"
        if step.precision is not Precision.FLOAT32:
            hint = (
                "try another precision, as Float16; or accept it with "
                f"--min_cosine {max(0.0, record.fidelity.mean_cosine - 0.005):.2f}"
            )
        raise FidelityError(f"{step.file} is not published: {problem}", hint)

    def _report(self, step: Step, record: ArtifactRecord) -> None:
        if step.stage is not Stage.OPTIMIZE:
            return
        fused, left = record.attention
        operators = ", ".join(f"{count} {name}" for name, count in record.fused_operators.items())
        if not record.fused_operators:
            self._console.warn(f"{step.file}: nothing was fused; it is as fast as {step.source}")
        else:
            self._console.say(f"  fused: {operators}")
        if left:
            self._console.warn(f"{step.file}: {fused} attentions are fused, {left} are not")

    # The manifest

    def _keep_published(self) -> None:
        """Takes over published graphs that this run did not make and that still belong.

        A graph belongs when its source is the same and the graph that it was made of is still
        there, or never was there (`--model_path`).
        """
        if self._old is None:
            return
        before = {a.sha256 for a in self._old.artifacts}
        same_source = self._old.source.get("digest") == self._resolved.digest
        # An export comes before what is made of it.
        for record in sorted(self._old.artifacts, key=lambda a: a.made_from is not None):
            if record.path in self._records:
                continue
            now = {r.sha256 for r in self._records.values()}
            belongs = record.made_from is None or record.made_from in now
            belongs = belongs or record.made_from not in before
            if same_source and belongs and self._staging.adopt(record, self._staging.target):
                self._records[record.path] = record
            else:
                self._console.warn(f"{record.path} is removed: it was made of another export")

    def _replaces_published(self) -> bool:
        """Whether publishing would remove or replace a graph that is there."""
        if self._old is None:
            return False
        now = {(r.path, r.sha256) for r in self._records.values()}
        return any((a.path, a.sha256) not in now for a in self._old.artifacts)

    @staticmethod
    def _unchanged(manifest: Manifest, old: Manifest) -> bool:
        return (manifest.artifacts, manifest.files) == (old.artifacts, old.files)

    def _manifest(self) -> Manifest:
        return Manifest(
            tool_version=__version__,
            source={
                "model_id": self._resolved.model_id,
                "revision": self._resolved.revision,
                "digest": self._resolved.digest,
                "model_type": self._resolved.architecture.model_type,
                "hidden_size": self._resolved.architecture.hidden_size,
                "num_heads": self._resolved.architecture.num_heads,
                "max_seq_length": self._resolved.max_seq_length,
                "pooling": self._source_facts.get("pooling", []),
                "dimension": self._source_facts.get("dimension"),
                "pooling_override": self._request.pooling,
                "trust_remote_code": self._request.trust_remote_code,
            },
            source_files=self._resolved.files,
            stack={**self._stack, "python": platform.python_version()},
            machine={
                "platform": platform.platform(),
                "processor": _processor(),
                "cpus": len(os.sched_getaffinity(0)),
            },
            verification=self._verifier.facts(),
            artifacts=tuple(sorted(self._records.values(), key=lambda r: (len(r.path), r.path))),
            files=self._staging.other_files(),
        )


def _record(
    step: Step,
    method: str,
    artifact: OnnxArtifact,
    source: OnnxArtifact | None,
    fidelity: Any,
    key: str,
    meter: Any,
) -> ArtifactRecord:
    external = artifact.external_data
    if external is not None:
        external = replace(external, path=f"{step.file.rpartition('/')[0]}/{external.path}")
    return ArtifactRecord(
        path=step.file,
        sha256=artifact.sha256,
        size_bytes=artifact.size_bytes,
        external_data=external,
        precision=step.precision,
        optimization_level=step.level,
        opset=artifact.opset,
        inputs=artifact.inputs,
        outputs=artifact.outputs,
        operators=artifact.operators,
        method=method,
        key=key,
        made_from=source.sha256 if source else None,
        fidelity=fidelity,
        duration_s=meter.duration_s,
        peak_memory_bytes=meter.peak_memory_bytes,
        min_onnxruntime=artifact.min_onnxruntime,
    )


def _processor() -> str:
    """Returns the CPU's name; platform.processor() is empty on most Linux systems."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()
