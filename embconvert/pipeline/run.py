"""One run: the steps in order, then all that holds is published at once."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

from embconvert.console import Console
from embconvert.errors import (
    EmbconvertError,
    FidelityError,
    OptimizeError,
    QuantizeError,
    SourceError,
)
from embconvert.folder.consumer_files import adapt_to_layout
from embconvert.folder.disk import refuse_full_disk
from embconvert.folder.published import is_whole
from embconvert.folder.staging import Staging
from embconvert.manifest import Manifest
from embconvert.manifest.layouts import LAYOUTS
from embconvert.models.choices import Command
from embconvert.models.values import OnnxArtifact
from embconvert.pipeline.ahead import Ahead
from embconvert.pipeline.auto import choose
from embconvert.pipeline.exporting import Exports
from embconvert.pipeline.ledger import Ledger
from embconvert.pipeline.making import Maker, refuse_too_new
from embconvert.pipeline.prepare import Prepared, has_room_for_two, is_short_of_memory
from embconvert.pipeline.source_process import Source
from embconvert.pipeline.tasks import read_given_graph, try_graph
from embconvert.pipeline.verifier import Verifier
from embconvert.plan.steps import Stage, Step
from embconvert.processes.workers import WorkerCrashed, Workers
from embconvert.reporting.pages import users_pages, write_pages
from embconvert.reporting.table import table_header, table_rows
from embconvert.source.folder import CONFIGURATION_FILES


class Run:
    """One run of a plan in a staging folder."""

    def __init__(
        self, prepared: Prepared, staging: Staging, workers: Workers, console: Console
    ) -> None:
        request, resolved, old = prepared.request, prepared.resolved, prepared.old
        self._workers = workers
        self._request = request
        self._resolved = resolved
        self._plan = prepared.plan
        self._staging = staging
        self._old = old
        self._console = console
        self._ledger = Ledger(request, resolved, staging, old, console)
        self._source = Source(request, resolved, staging.folder, workers, console)
        in_pieces = is_short_of_memory(self._plan, console)
        self._verifier = Verifier(
            self._source,
            workers,
            console,
            skipped=request.skip_validation,
            layer_by_layer=in_pieces,
            flop_per_token=0.0 if self._request.full_validation else self._resolved.flop_per_token,
            wide_values=self._resolved.wide_values,
        )
        ahead = Ahead(
            request,
            staging=staging,
            ledger=self._ledger,
            source=self._source,
            workers=workers,
            console=console,
            has_room=has_room_for_two(self._plan, console, in_pieces=in_pieces),
        )
        self._maker = Maker(
            request,
            ledger=self._ledger,
            source=self._source,
            verifier=self._verifier,
            ahead=ahead,
            exports=Exports(
                request,
                staging=staging,
                source=self._source,
                verifier=self._verifier,
                ahead=ahead,
                console=console,
            ),
            console=console,
        )

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
        if self._request.model_path is not None:
            self._ledger.given = self._read_given(self._request.model_path)
        unmade = self._ledger.unmade(self._plan.steps)
        smaller = ""
        if self._request.command is Command.ALL and not self._request.no_float32:
            smaller = "add --no_float32, which writes the quantized files only"
        need_bytes = self._plan.disk_need_bytes(unmade)
        refuse_full_disk(self._staging.target, need_bytes, smaller)
        self._copy_source_files()
        failures: list[EmbconvertError] = []
        for step, then in self._with_next(unmade):
            if not step.is_published and step.file not in unmade:
                continue
            try:
                record = self._maker.reuse(step) or self._maker.make(step, then)
            except (OptimizeError, QuantizeError, FidelityError) as failure:
                self._blame_given(failure)
                failures.append(failure)
                if step.stage is not Stage.QUANTIZE:
                    break  # what remains would be made of this file
                continue
            refuse_too_new(record, self._request)
            self._ledger.records[step.file] = record
            self._staging.write_manifest(self._manifest())
        if self._plan.search is not None and not failures:
            record = choose(
                self._plan, self._request, self._maker, self._ledger, self._staging, self._console
            )
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

    def _read_given(self, path: Path) -> OnnxArtifact:
        """Reads the graph of `--model_path`.

        Raises:
            SourceError: It will not do.
            UnsupportedModelError: It has what is not converted.
        """
        size = path.stat().st_size if path.is_file() else 0
        try:
            with self._workers.take(size) as worker:
                artifact: OnnxArtifact = worker.call(read_given_graph, path, self._staging.work)
        except WorkerCrashed as crash:
            raise SourceError(
                f"{path.name} cannot be loaded: {crash}",
                "give it more memory" if crash.out_of_memory else "export the model anew",
            ) from crash
        return artifact

    def _blame_given(self, failure: EmbconvertError) -> None:
        """Raises a SourceError when the graph of `--model_path` itself does not run."""
        given = self._ledger.given
        if given is None:
            return
        try:
            with self._workers.take(given.total_size_bytes) as worker:
                problem = worker.call(try_graph, given)
        except WorkerCrashed as crash:
            problem = str(crash)
        if problem is not None:
            raise SourceError(
                f"{given.path.name} does not run: {problem}",
                "give a graph that ONNX Runtime runs on this machine, or export the model anew",
            ) from failure

    def _with_next(self, unmade: Collection[str]) -> Iterator[tuple[Step, Step | None]]:
        """Yields the plan's steps, each with the next one whose file must be made."""
        steps = self._plan.steps
        for number, step in enumerate(steps, start=1):
            yield step, next((later for later in steps[number:] if later.file in unmade), None)

    def _manifest(self) -> Manifest:
        return self._ledger.manifest(self._verifier.record())

    def _publish(self, manifest: Manifest) -> Manifest:
        """Publishes what stands, with its pages; returns the manifest."""
        old, target = self._old, self._staging.target
        if (
            old is not None
            and manifest.describes_the_same(old)
            and is_whole(target, old, contents=True)
        ):
            self._console.say(f"{target} is up to date; nothing was done again")
            manifest = replace(manifest, tool=old.tool, pages=old.pages)
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
        source = self._manifest().source
        modules = set(source.modules) - {"Transformer", "Pooling", "Normalize"}
        others = (set(source.pooling) - set(rules.pools)) | modules
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
            problem = self._ledger.add_files(self._old, self._staging.target)
            if problem is not None:
                raise SourceError(
                    problem, f"run again: embconvert export --model_id {self._request.model_id}"
                )
