"""`embconvert batch`: converts every model of a list that is missing or has changed."""

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from embconvert import hub
from embconvert.api.runner import Runner
from embconvert.console import Console
from embconvert.errors import EmbconvertError, Interrupted, NetworkError
from embconvert.fleet.entries import Entry, read_entries
from embconvert.fleet.shards import chosen_shard, entries_of_shard, matrix
from embconvert.fleet.summary import (
    TABLE_HEADER,
    Outcome,
    Status,
    counted,
    summary_as_json,
    worst_code,
)
from embconvert.folder.routes import published_routes
from embconvert.folder.staging import was_killed
from embconvert.manifest import MANIFEST_FILE
from embconvert.pipeline.freshness import current_manifests
from embconvert.request.places import local_folder
from embconvert.request.records import BatchRequest, Finished, Request, Shard

Commits = Callable[
    [Sequence[Request], Console, Callable[[int], None]], Sequence[str | EmbconvertError]
]


def batch(
    request: BatchRequest,
    open_runner: Callable[[Console], Runner] = Runner,
    find_commits: Commits = hub.find_commits,
) -> Finished:
    """Converts the models of a list.

    Args:
        open_runner: Returns what converts models: a context manager.
        find_commits: Asks the hub for the current commit of each model, or the reason why it is
            unknown.

    Returns:
        Text for stdout: one complete folder per line; with `json` the summary, with `list_json` the
        matrix. The exit code is that of the worst failure.

    Raises:
        UsageError: The list or an option is wrong; nothing was started.
    """
    console = Console(quiet=request.quiet, debug=request.debug)
    shard = chosen_shard(request)
    entries = read_entries(request, console)
    if request.list_json:
        return Finished(text=json.dumps(matrix(entries, request.shards)))
    if shard is not None:
        everything = len(entries)
        entries = entries_of_shard(entries, shard)
        console.say(f"shard {shard}: {len(entries)} of {everything} models")
    return _BatchRun(request, entries, shard, console, open_runner, find_commits).run()


class _BatchRun:
    """One run over a list."""

    def __init__(
        self,
        request: BatchRequest,
        entries: Sequence[Entry],
        shard: Shard | None,
        console: Console,
        open_runner: Callable[[Console], Runner],
        find_commits: Commits,
    ) -> None:
        self._request = request
        self._entries = entries
        self._shard = shard
        self._console = console
        self._open_runner = open_runner
        self._find_commits = find_commits
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
        """Returns the models to convert; records the others as up to date or failed."""
        sources = self._sources()
        waiting: list[Entry] = []
        for entry in self._entries:
            source = sources[entry.folder]
            try:
                if isinstance(source, EmbconvertError):
                    raise source
                manifests = current_manifests(entry.request, entry.folder, source)
            except NetworkError:
                waiting.append(entry)  # the hub may be back by then
            except EmbconvertError as error:
                self._fail(entry, error)
            else:
                if not manifests:
                    waiting.append(entry)
                else:
                    self._note(Outcome(entry=entry, status=Status.UP_TO_DATE, manifests=manifests))
        return waiting

    def _sources(self) -> dict[Path, str | Path | EmbconvertError]:
        """Returns the source of each model: a commit on the hub, or a local folder."""
        sources: dict[Path, str | Path | EmbconvertError] = {}
        on_hub: list[Entry] = []
        for entry in self._entries:
            source = local_folder(entry.model_id)
            if source is None:
                on_hub.append(entry)
            else:
                sources[entry.folder] = source
        with self._console.progress("asking the hub", len(on_hub)) as advance:
            requests = [entry.request for entry in on_hub]
            found = self._find_commits(requests, self._console, advance)
        return sources | {e.folder: commit for e, commit in zip(on_hub, found, strict=True)}

    def _convert_all(self, waiting: Sequence[Entry]) -> None:
        # A model whose last run was killed (for lack of memory, for example) may also kill this
        # one: last.
        order = sorted(waiting, key=lambda entry: was_killed(entry.folder))
        try:
            with self._open_runner(self._console) as runner:
                self._convert(order, runner)
                unreached = [e for e in order if self._code(e) == NetworkError.exit_code]
                if unreached and not self._request.fail_fast:
                    self._console.say(f"retrying after network errors: {len(unreached)}")
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
                self._console.warn("--fail_fast: the remaining models are not converted")
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
            made = runner.convert(entry.request)
        except EmbconvertError as error:
            outcome = self._fail(entry, error)
        except RuntimeError as bug:
            self._console.trace(str(bug))
            hint = "please report it with the traceback above"
            outcome = self._fail(entry, EmbconvertError("this is a bug in embconvert", hint))
        else:
            # Another run may have converted it after this one started.
            changed = _identity(entry.folder) != before
            status = Status.CONVERTED if changed else Status.UP_TO_DATE
            manifests = tuple(made.manifests.values())
            outcome = Outcome(entry=entry, status=status, manifests=manifests)
            if self._request.remove_downloads and local_folder(entry.model_id) is None:
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
            summary = summary_as_json(outcomes, file=file, shard=self._shard, duration_s=duration_s)
            text = json.dumps(summary, indent=2)
        else:
            text = "\n".join(str(o.entry.folder) for o in outcomes if o.manifests)
        return Finished(text=text, exit_code=worst_code(outcomes))

    def _show(self, outcomes: Sequence[Outcome], duration_s: float) -> None:
        """Prints the table, without models that are up to date."""
        rows = [outcome.row() for outcome in outcomes if outcome.status is not Status.UP_TO_DATE]
        if rows:
            self._console.table(f"{self._request.file}", TABLE_HEADER, rows)
        took = f"in {_in_words(duration_s)}"
        self._console.say(f"{counted(outcomes) or 'no model'} {took}")


def _identity(folder: Path) -> list[tuple[int, int]]:
    """Returns a value that changes whenever the folder or that of a route is published."""
    found = []
    for place in (folder, *(folder / name for name in published_routes(folder))):
        with contextlib.suppress(OSError):
            status = (place / MANIFEST_FILE).stat()
            found.append((status.st_ino, status.st_mtime_ns))
    return found


def _in_words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
