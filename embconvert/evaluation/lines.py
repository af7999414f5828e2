"""Reads the lines of a user's data, with limits; a bad one is told with its number."""

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embconvert.errors import UsageError
from embconvert.user_files import UnreadableFileError, read_lines

#: Limits of data, which are also in `--help`.
MAX_DATA_BYTES = 1 << 34
MAX_LINE_BYTES = 1 << 20
MAX_DOCUMENTS = 1_000_000
MAX_QUERIES = 100_000
_MAX_ID = 1000


@dataclass(kw_only=True)
class DataFile:
    """A file of data that is read line by line.

    Attributes:
        number: Of the line that was read last, from 1.
    """

    path: Path
    number: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    def error(self, problem: str, hint: str, number: int | None = None) -> UsageError:
        """Returns the error about the line that was read last, or another one."""
        return UsageError(f"{self.path}, line {number or self.number}: {problem}", hint)

    def lines(self) -> Iterator[str]:
        """Yields the lines, also blank ones.

        Raises UsageError if they cannot be read, are no UTF-8, or exceed a limit.
        """
        try:
            for line in read_lines(
                self.path, most_bytes=MAX_DATA_BYTES, most_line_bytes=MAX_LINE_BYTES
            ):
                self.number += 1
                self.digest.update(line.encode() + b"\n")
                yield line.removesuffix("\r")
        except UnreadableFileError as error:
            raise UsageError(
                f"{self.path} {error}", "give regular files in UTF-8, with at most 1 MiB per line"
            ) from error

    def objects(self) -> Iterator[Any]:
        """Yields the values of a JSONL file; blank lines are skipped.

        Raises:
            UsageError: As lines(), or a line is not JSON.
        """
        for line in self.lines():
            if not line.strip():
                continue
            try:
                yield json.loads(line)
            except (ValueError, RecursionError) as error:
                raise self.error(
                    f"it is not JSON: {error}"[:300], "write one JSON value per line"
                ) from error

    def rows(self, delimiter: str) -> Iterator[list[str]]:
        """Yields the rows of a table; empty ones are skipped.

        A cell in quotation marks may have several lines. Raises UsageError if a row is malformed.
        """
        csv.field_size_limit(MAX_LINE_BYTES)
        reader = csv.reader(
            (line + "\n" for line in self.lines()),
            delimiter=delimiter,
            strict=True,
            quoting=csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE,
        )
        begin = 1
        try:
            for row in reader:
                if row:
                    yield row
                begin = self.number + 1
        except csv.Error as error:
            raise self.error(
                f"it is not a row of a table: {error}",
                "check the quotation marks: a cell that starts with one must end with one",
                begin,
            ) from error

    def text(self, value: Any, what: str) -> str:
        """Returns a value; raises UsageError unless it is text with visible characters."""
        if not isinstance(value, str):
            raise self.error(f"{what} is {_shown(value)}, not text", f"write {what} as text")
        if not value.strip():
            raise self.error(f"{what} is empty", "remove the line, or fill it in")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise self.error(
                f"{what} has half of a surrogate pair", "write the whole character"
            ) from error
        return value

    def number_in(self, value: Any, what: str) -> float:
        """Returns a value as a number; raises UsageError unless it is a finite one."""
        try:
            number = float(value) if isinstance(value, str | int | float) else float("nan")
        except (ValueError, OverflowError):
            number = float("nan")
        if not abs(number) < 1e300 or (isinstance(value, str) and "_" in value):
            raise self.error(f"{what} is {_shown(value)}, not a number", f"write {what} as 0.8")
        return number

    def identifier(self, value: Any) -> str:
        """Returns a line's `_id`; raises UsageError unless it is short text or a whole number."""
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not value or len(value) > _MAX_ID:
            raise self.error(
                f"_id is {_shown(value)}, not an id", "give each line an _id of its own"
            )
        return value

    def at_most(self, count: int, most: int, what: str) -> None:
        """Raises UsageError for more than so many."""
        if count > most:
            raise self.error(f"there are more than {most:,} {what}", "give a sample of the data")


def of_object(value: Any, file: DataFile) -> Mapping[str, Any]:
    """Returns a line's value; raises UsageError unless it is an object."""
    if not isinstance(value, dict):
        raise file.error(f"it is {_shown(value)}, not an object", 'write {"name": "value", ...}')
    return value


def is_number(word: str) -> bool:
    """Whether a cell may be a number, also one that is not finite."""
    try:
        float(word)
    except ValueError:
        return False
    return True


def _shown(value: Any) -> str:
    if value is None:
        return "missing"
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "..."
