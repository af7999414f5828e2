"""The errors that reach the user: one message, one hint, one exit code per class.

| code | class | when |
|---|---|---|
| 1 | any other exception | a bug |
| 2 | UsageError | unknown flag or command, bad value |
| 3 | SourceError | not found, gated, incomplete or corrupt model |
| 4 | UnsupportedModelError | an architecture or module that cannot be converted |
| 5, 6, 7 | ExportError, OptimizeError, QuantizeError | that stage failed |
| 8 | FidelityError | the converted model drifted past its floor |
| 9 | OutputError | cannot write: read-only, a file in the way, disk full; a limit of the system |
| 10 | NetworkError | the hub cannot be reached or fails; the one error that may pass by itself |
| 128 + N | Interrupted | the signal N: 130 is SIGINT, 143 SIGTERM; see signals.py |
"""

from collections.abc import Sequence
from typing import ClassVar

from embconvert.foreign_text import one_line


def _once(message: str) -> str:
    """Returns a message without a part that only repeats the one before: `x: x`.

    Each layer puts its words before those of the error that it caught, and some say the same.
    """
    parts: list[str] = []
    for part in message.split(": "):
        if not parts or part.strip(". ").casefold() != parts[-1].strip(". ").casefold():
            parts.append(part)
    return ": ".join(parts)


class EmbconvertError(Exception):
    """An error with a next step.

    Attributes:
        message: What is wrong, one line.
        hint: What to do next, one line.
        exit_code: The process's exit status.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str) -> None:
        # Both are arguments of the base class, so that the error can cross between processes.
        super().__init__(message, hint)
        # What is quoted may be a stranger's: it must not steer the terminal.
        self.message = _once(one_line(message))
        self.hint = one_line(hint)

    def __str__(self) -> str:
        return self.message

    @property
    def parts(self) -> "Sequence[EmbconvertError]":
        """The errors to tell, each with its hint."""
        return (self,)


class UsageError(EmbconvertError):
    """The command line asks for something that does not exist."""

    exit_code = 2


class SeveralErrors(UsageError):  # noqa: N818 - it is several
    """All that is wrong with what was given.

    Args:
        parts: At least one.
    """

    def __init__(self, parts: Sequence[EmbconvertError]) -> None:
        super().__init__(parts[0].message, parts[0].hint)
        self._parts = tuple(parts)

    @property
    def parts(self) -> Sequence[EmbconvertError]:
        """Each of them."""
        return self._parts


class SourceError(EmbconvertError):
    """The model to convert cannot be had whole."""

    exit_code = 3


class NetworkError(SourceError):
    """The hub cannot be reached or fails: trying again later may help, and only then."""

    exit_code = 10


class UnsupportedModelError(EmbconvertError):
    """The model is whole, but cannot be converted."""

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


class FidelityError(EmbconvertError):
    """A converted graph gives other embeddings than its source."""

    exit_code = 8


class OutputError(EmbconvertError):
    """The output folder cannot be written."""

    exit_code = 9


class Interrupted(BaseException):
    """A signal asks the process to end; not an Exception, so that no handler swallows it.

    Attributes:
        signal_number: Which one.
        exit_code: 128 plus its number.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"interrupted by signal {signal_number}")
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number
