"""Messages and exit codes of failed commands."""

import contextlib
import json
import re
import signal
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from embconvert.cli.commands import CommandSpec
from embconvert.cli.hints import hint_with_commands
from embconvert.console import TRACEBACK_LIMIT
from embconvert.errors import EmbconvertError, Interrupted, OutputError
from embconvert.foreign_text import lines, one_line
from embconvert.processes.limits import limit_error
from embconvert.stderr import Level, log

ISSUES_PAGE = "the project's issue tracker"
_JSON = re.compile(r"--json(=(true|1))?", re.IGNORECASE)
_JSON_LOG = re.compile(r"--log[-_]format[ =]json", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The exit code, messages with hints, and perhaps traceback of a failed command."""

    exit_code: int
    problems: Sequence[tuple[str, str]]
    traceback: str | None = None

    def tell(self, *, as_json: bool) -> None:
        """Prints it to stderr, and to stdout if JSON was requested."""
        # The terminal may be gone; the exit code tells nevertheless.
        with contextlib.suppress(OSError):
            if self.traceback is not None:
                log(Level.LIBRARY, lines(self.traceback, TRACEBACK_LIMIT))
            for message, hint in self.problems:
                log(Level.ERROR, one_line(message), hint=one_line(hint))
        if as_json:
            with contextlib.suppress(OSError):  # it may be stdout that failed
                print(json.dumps(self.as_json(), indent=2), flush=True)  # noqa: T201

    def as_json(self) -> dict[str, object]:
        """Returns it as plain JSON values; `data/error.schema.json` is their schema."""
        return {
            "exit_code": self.exit_code,
            "errors": [
                {"message": one_line(message), "hint": one_line(hint)}
                for message, hint in self.problems
            ],
        }


def wants_json(words: Sequence[str]) -> bool:
    """Whether a command line asks for JSON; it may be one that cannot be parsed."""
    return any(_JSON.fullmatch(word) for word in words)


def wants_json_log(words: Sequence[str]) -> bool:
    """Whether a command line asks for a log in JSON; it may be one that cannot be parsed."""
    return _JSON_LOG.search(" ".join(words)) is not None


def failure_of(error: EmbconvertError, spec: CommandSpec | None, *, debug: bool) -> Failure:
    """Returns the failure of an error that is being handled."""
    problems = [
        (part.message, part.hint if spec is None else hint_with_commands(part.hint, spec))
        for part in error.parts
    ]
    trace = traceback.format_exc() if debug else None
    return Failure(exit_code=error.exit_code, problems=problems, traceback=trace)


def failure_of_interruption(interruption: Interrupted) -> Failure:
    """Returns the failure of a signal."""
    problem = (
        "interrupted",
        "nothing incomplete was published, and unfinished work is removed; run the command again",
    )
    if interruption.signal_number == signal.SIGXCPU:
        problem = ("the CPU time is used up (`ulimit -t`)", "raise the limit, and run it again")
    return Failure(exit_code=interruption.exit_code, problems=[problem])


def failure_of_bug(error: Exception) -> Failure:
    """Returns the failure of an unexpected error, which may be a limit of the system."""
    limit = limit_error(error)
    if isinstance(error, MemoryError):
        limit = OutputError("there is not enough memory", "end other programs, or add memory")
    if limit is not None:
        return failure_of(limit, None, debug=False)
    problem = ("this is a bug in embconvert", f"please report it at {ISSUES_PAGE}")
    return Failure(exit_code=1, problems=[problem], traceback=traceback.format_exc())
