"""`embconvert batch`: every model of a list that is missing or has changed, one after another."""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from embconvert import hub
from embconvert.console import Console
from embconvert.errors import EmbconvertError, Interrupted, NetworkError
from embconvert.fleet.entries import Entry, read_entries
from embconvert.fleet.runner import Runner
from embconvert.fleet.shards import chosen_shard, matrix, part_of
from embconvert.fleet.summary import (
    TABLE_HEADER,
    Outcome,
    Status,
    as_json,
    counted,
    worst_code,
)
from embconvert.folder.published import read_manifest
from embconvert.folder.staging import was_killed
from embconvert.manifest import MANIFEST_FILE
from embconvert.pipeline.freshness import current_manifest
from embconvert.processes.workers import WorkerCrashed
from embconvert.request.records import BatchRequest, Finished, Shard


def batch(request: BatchRequest) -> Finished:
    """Converts the models of a list.

    Returns:
        For stdout the folders that are complete, one a line; with `json` the summary, with
        `list_json` the matrix. Its exit code is that of the worst failure.

    Raises:
        UsageError: Something in the list or the options is wrong; nothing was started.
    """
    console = Console(quiet=request.quiet, debug=request.debug)
    shard = chosen_shard(request)
    entries = read_entries(request, console)
    if request.list_json:
        return Finished(text=json.dumps(matrix(entries, request.shards)))
    if shard is not None:
        everything = len(entries)
        entries = part_of(entries, shard)
        console.say(f"shard {shard}: {len(entries)} of {everything} models")
    return _Batch(request, entries, shard, console).run()


class _Batch:
    """One run over a list."""

    def __init__(
        self,
        request: BatchRequest,
        entries: Sequence[Entry],
        shard: Shard | None,
        console: Console,
    ) -> None:
        self._request = request
        self._entries = entries
        self._shard = shard
        self._console = console
        self._start = time.monotonic()
        self._outcomes: dict[Path, Outcome] = {}

    def run(self) -> Finished:
        waiting = self._out_of_date()
        known = len(self._outcomes)
        if known:
            self._console.say(f"{counted(self._outcomes.values())}; {len(waiting)} to convert")
        if not self._request.dry_run:
            self._convert_all(waiting)
        return self._finish(waiting)

    def _note(self, outcome: Outcome) -> None:
        self._outcomes[outcome.entry.folder] = outcome

    def _out_of_date(self) -> list[Entry]:
        """Returns the models that there is work for; notes the others."""
        sources = self._sources()
        waiting: list[Entry] = []
        for entry in self._entries:
            source = sources[entry.folder]
            try:
                if isinstance(source, EmbconvertError):
                    raise source
                manifest = current_manifest(entry.request, entry.folder, source)
            except NetworkError:
                waiting.append(entry)  # it may have passed by the time of its turn
            except EmbconvertError as error:
                self._fail(entry, error)
            else:
                if manifest is None:
                    waiting.append(entry)
                else:
                    self._note(Outcome(entry=entry, status=Status.UP_TO_DATE, manifest=manifest))
        return waiting

    def _sources(self) -> dict[Path, str | Path | EmbconvertError]:
        """Returns what each model would be made of: a commit of the hub's or a local folder."""
        sources: dict[Path, str | Path | EmbconvertError] = {}
        on_hub: list[Entry] = []
        for entry in self._entries:
            source = hub.local_folder(entry.model_id)
            if source is None:
                on_hub.append(entry)
            else:
                sources[entry.folder] = source
        with self._console.progress("asking the hub", len(on_hub)) as advance:
            requests = [entry.request for entry in on_hub]
            found = hub.find_commits(requests, self._console, advance)
        return sources | {e.folder: commit for e, commit in zip(on_hub, found, strict=True)}

    def _convert_all(self, waiting: Sequence[Entry]) -> None:
        # A model whose run was killed may kill this one too (for memory, say); the others first.
        order = sorted(waiting, key=lambda entry: was_killed(entry.folder))
        try:
            with Runner(self._console) as runner:
                self._convert(order, runner)
                unreached = [e for e in order if self._code(e) == NetworkError.exit_code]
                if unreached and not self._request.fail_fast:
                    self._console.say(f"trying again what the network failed: {len(unreached)}")
                    self._convert(unreached, runner)
        except Interrupted:
            self._console.say(f"so far: {counted(self._outcomes.values()) or 'nothing'}")
            raise

    def _code(self, entry: Entry) -> int | None:
        outcome = self._outcomes.get(entry.folder)
        return outcome.exit_code if outcome else None

    def _convert(self, entries: Sequence[Entry], runner: Runner) -> None:
        start = time.monotonic()
        for number, entry in enumerate(entries, start=1):
            if self._request.fail_fast and worst_code(self._outcomes.values()):
                self._console.warn("--fail_fast: the remaining models are not done")
                return
            place = f"[{number}/{len(entries)}]"
            self._console.say("")
            self._console.say(f"{place} {entry.model_id} ({self._request.file}:{entry.line})")
            outcome = self._convert_one(entry, runner)
            self._note(outcome)
            left = len(entries) - number
            rest = (time.monotonic() - start) / number * left
            self._console.say(
                f"{place} {entry.model_id}: {outcome.status}, {outcome.duration_s:.0f} s"
                + (f"; {left} left, about {_in_words(rest)}" if left else "")
            )

    def _convert_one(self, entry: Entry, runner: Runner) -> Outcome:
        start = time.monotonic()
        before = _identity(entry.folder)
        try:
            runner.convert(entry.request)
        except EmbconvertError as error:
            outcome = self._fail(entry, error)
        except WorkerCrashed as crash:
            outcome = self._fail(entry, EmbconvertError(
                f"its process ended: {crash}",
                crash.hint,
            ))  # fmt: skip
        except RuntimeError as bug:
            self._console.trace(str(bug))
            hint = "please report it with the traceback above"
            outcome = self._fail(entry, EmbconvertError("this is a bug in embconvert", hint))
        else:
            # Another run may have done it since this one began.
            changed = _identity(entry.folder) != before
            status = Status.CONVERTED if changed else Status.UP_TO_DATE
            manifest = read_manifest(entry.folder)
            outcome = Outcome(entry=entry, status=status, manifest=manifest)
            if self._request.remove_downloads and hub.local_folder(entry.model_id) is None:
                hub.remove_download(entry.request)
        return replace(outcome, duration_s=time.monotonic() - start)

    def _fail(self, entry: Entry, error: EmbconvertError) -> Outcome:
        where = f"{self._request.file}:{entry.line}: "
        if not error.message.startswith(entry.model_id):
            where += f"{entry.model_id}: "
        self._console.error(where + error.message, error.hint)
        outcome = Outcome(
            entry=entry,
            status=Status.FAILED,
            exit_code=error.exit_code,
            error=error.message,
            hint=error.hint,
        )
        self._note(outcome)
        return outcome

    def _finish(self, waiting: Iterable[Entry]) -> Finished:
        for entry in waiting:
            if entry.folder not in self._outcomes:
                self._note(Outcome(entry=entry, status=Status.TO_DO, exit_code=None))
        outcomes = [self._outcomes[entry.folder] for entry in self._entries]
        duration_s = time.monotonic() - self._start
        self._show(outcomes, duration_s)
        if self._request.json:
            file = str(self._request.file)
            summary = as_json(outcomes, file=file, shard=self._shard, duration_s=duration_s)
            text = json.dumps(summary, indent=2)
        else:
            text = "\n".join(str(o.entry.folder) for o in outcomes if o.manifest is not None)
        return Finished(text=text, exit_code=worst_code(outcomes))

    def _show(self, outcomes: Sequence[Outcome], duration_s: float) -> None:
        """Prints the table; what is up to date needs no row of its own."""
        rows = [outcome.row() for outcome in outcomes if outcome.status is not Status.UP_TO_DATE]
        if rows:
            self._console.table(f"{self._request.file}", TABLE_HEADER, rows)
        took = f"in {_in_words(duration_s)}"
        self._console.say(f"{counted(outcomes) or 'no model'} {took}")


def _identity(folder: Path) -> tuple[int, int] | None:
    """Returns what changes whenever a folder is published."""
    try:
        status = (folder / MANIFEST_FILE).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _in_words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
