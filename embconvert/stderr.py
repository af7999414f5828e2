"""What a process prints on stderr: harmless lines of text, or a JSON object a line."""

import io
import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TextIO

from embconvert.foreign_text import lines, one_line
from embconvert.overriding import override

#: The log's format, for this process and its workers; users may set it, too.
FORMAT_VARIABLE = "EMBCONVERT_LOG_FORMAT"


class LogFormat(StrEnum):
    """The values of `--log_format`."""

    TEXT = "text"
    JSON = "json"


class Level(StrEnum):
    """The levels of a line of the log; LIBRARY is what no message of embconvert's is."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    LIBRARY = "library"


def unknown_format() -> str | None:
    """The user's word for the log's format, if it is none."""
    word = os.environ.get(FORMAT_VARIABLE, "")
    return None if word.lower() in ("", *LogFormat) else word


def log_format() -> LogFormat:
    """The format of this process's log."""
    is_json = os.environ.get(FORMAT_VARIABLE, "").lower() == LogFormat.JSON
    return LogFormat.JSON if is_json else LogFormat.TEXT


def use_log_format(chosen: LogFormat) -> None:
    """Makes this process and its future workers log in a format."""
    os.environ[FORMAT_VARIABLE] = chosen
    clean_stderr()


def log(
    level: Level,
    message: str,
    *,
    hint: str | None = None,
    columns: Sequence[str] = (),
    rows: Sequence[Sequence[str]] = (),
) -> None:
    """Prints an object on one line if the log is JSON; otherwise text, without the rows.

    Args:
        level: Its level.
        message: One line, or a traceback.
        hint: What to do about an error.
        columns: Headings of a table.
        rows: A cell for each column.
    """
    if isinstance(sys.stderr, _JsonLines):
        record: dict[str, object] = {"message": message}
        if hint is not None:
            record["hint"] = hint
        if rows:
            record["rows"] = [dict(zip(columns, row, strict=True)) for row in rows]
        sys.stderr.record(level, record)
        return
    print(as_text(level, message, hint), file=sys.stderr, flush=True)  # noqa: T201 - the one place


def as_text(level: Level, message: str, hint: str | None) -> str:
    """Returns a message as it is printed where the log is text."""
    mark = "" if level in (Level.INFO, Level.LIBRARY) else f"{level}: "
    return f"{mark}{message}" + ("" if hint is None else f"\nhint: {hint}")


class CleanStream(io.TextIOWrapper):
    """A text stream that escapes control characters.

    Attributes:
        uncleaned: The underlying stream.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(
            stream.buffer,
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=True,
            write_through=True,
        )
        self.uncleaned = stream

    @override
    def write(self, text: str, /) -> int:
        super().write(lines(text))
        return len(text)

    @override
    def writelines(self, texts: Iterable[str], /) -> None:  # type: ignore[override]
        self.write("".join(texts))


class _JsonLines(CleanStream):
    """Makes each line that is printed an object, for programs that read logs."""

    _rest = ""

    @override
    def write(self, text: str, /) -> int:
        *complete, self._rest = (self._rest + text).split("\n")
        for line in complete:
            if line.strip():
                self.record(Level.LIBRARY, {"message": one_line(line)})
        return len(text)

    def record(self, level: Level, values: dict[str, object]) -> None:
        """Prints one object, with its time in UTC."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        io.TextIOWrapper.write(self, json.dumps({"time": now, "level": level, **values}) + "\n")


def clean_stderr() -> None:
    """Makes everything that this process prints on stderr harmless; may be called again.

    Libraries print warnings, logs and tracebacks that contain text of the model.
    """
    kind = _JsonLines if log_format() is LogFormat.JSON else CleanStream
    stream = sys.stderr
    if isinstance(stream, io.TextIOWrapper) and type(stream) is not kind:
        stream.flush()
        if isinstance(stream, CleanStream):
            stream.detach()  # or it would close the stream when it is collected
            stream = stream.uncleaned
        sys.stderr = kind(stream)
