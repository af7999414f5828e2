"""Errors that reach the user: one message, one hint, one exit code per class."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

from embconvert.foreign_text import one_line
from embconvert.overriding import override

#: The hint of every error for lack of memory.
MORE_MEMORY = "use a machine with more memory, or raise the container's limit"
_LONGEST_REASON = 300
#: What each exit code means, in order; code stands in backticks.
EXIT_CODES: Mapping[str, str] = MappingProxyType(
    {
        "0": ("Success, everything verified (or `--skip_validation`, which the manifest records)."),
        "1": "A bug in embconvert.",
        "2": "Usage: an unknown option or a bad value; nothing was started.",
        "3": "The source: not found, gated, incomplete or corrupt.",
        "4": "The model cannot be converted.",
        "5": "The export failed.",
        "6": "Optimizing failed.",
        "7": "Quantizing failed.",
        "8": "A file is below the quality threshold, or a push of unverified files.",
        "9": "The output folder cannot be written, or a limit of the system prevents it.",
        "10": "The hub cannot be reached or fails; the only error worth a retry.",
        "11": "Deriving a file of another form, such as `--shape`, failed.",
        "128 + N": "Terminated by signal N: 130 is Ctrl-C, 143 is SIGTERM.",
    }
)


def reason_of(error: BaseException) -> str:
    """Returns the first line of another library's error, or else its class name; shortened."""
    return first_line(str(error).strip() or type(error).__name__)


def first_line(said: str) -> str:
    """Returns the first line of a text, with the next one if that is what it announces; shortened.

    Args:
        said: Not empty.
    """
    line, *more = said.splitlines()
    if line.endswith(":") and more:
        line = f"{line} {more[0].strip()}"
    return line[:_LONGEST_REASON]


def _once(message: str) -> str:
    """Returns a message without a part that only repeats the previous one: `x: x`.

    Each layer puts its words before the message of the error that it caught; some repeat it.
    """
    parts: list[str] = []
    for part in message.split(": "):
        if not parts or part.strip(". ").casefold() != parts[-1].strip(". ").casefold():
            parts.append(part)
    return ": ".join(parts)


class EmbconvertError(Exception):
    """An error with a hint.

    Attributes:
        message: What is wrong, one line.
        hint: What to do next, one line.
        exit_code: The process's exit status.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str) -> None:
        # Both are arguments of the base class, so that the error can be pickled.
        super().__init__(message, hint)
        # The message may quote untrusted text, which must not control the terminal.
        self.message = _once(one_line(message))
        self.hint = one_line(hint)

    @override
    def __str__(self) -> str:
        return self.message

    @property
    def parts(self) -> "Sequence[EmbconvertError]":
        """The errors to print, each with its hint."""
        return (self,)


class UsageError(EmbconvertError):
    """The command line or a list is wrong."""

    exit_code = 2


class SeveralErrors(UsageError):  # noqa: N818 - several errors
    """All errors of a command line or a list."""

    def __init__(self, parts: Sequence[EmbconvertError]) -> None:
        super().__init__(parts[0].message, parts[0].hint)
        self._parts = tuple(parts)

    @property
    @override
    def parts(self) -> Sequence[EmbconvertError]:
        return self._parts


class SourceError(EmbconvertError):
    """The model to convert is unavailable, incomplete or corrupt."""

    exit_code = 3


class NetworkError(SourceError):
    """The hub cannot be reached or fails; only then a retry may help."""

    exit_code = 10


class UnsupportedModelError(EmbconvertError):
    """The model is complete, but cannot be converted."""

    exit_code = 4


class ExportError(EmbconvertError):
    """Tracing the model or writing its graph failed."""

    exit_code = 5


class OptimizeError(EmbconvertError):
    """Optimizing a graph failed."""

    exit_code = 6


class QuantizeError(EmbconvertError):
    """Quantizing a graph failed."""

    exit_code = 7


class DeriveError(EmbconvertError):
    """Deriving a file of another form from a graph failed."""

    exit_code = 11


class FidelityError(EmbconvertError):
    """A converted graph computes other embeddings than its source."""

    exit_code = 8


class OutputError(EmbconvertError):
    """The output folder cannot be written, or a limit of the system prevents it."""

    exit_code = 9


class Interrupted(BaseException):
    """A signal asked the process to end; not an Exception, so that no handler swallows it.

    Attributes:
        exit_code: 128 plus the signal's number.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"interrupted by signal {signal_number}")
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number
