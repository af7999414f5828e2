"""Everything that is said to the user, on stderr; stdout is for results."""

import io
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from embconvert.foreign_text import lines, one_line

if TYPE_CHECKING:
    from rich.console import Console as RichConsole

#: Characters of a traceback, which has the message of its exception.
_TRACEBACK_LIMIT = 20_000
#: Characters of what stands before a bar.
_TITLE_LIMIT = 100


class Console:
    """Messages and progress.

    On a terminal a bar moves; elsewhere a line is printed now and then.

    Args:
        quiet: Only warnings and errors.
        debug: Let the libraries' own messages through.

    Attributes:
        debug: As given.
    """

    def __init__(self, *, quiet: bool, debug: bool) -> None:
        self._quiet = quiet
        self.debug = debug
        self._terminal = sys.stderr.isatty() and not quiet
        #: While a bar is shown: what stands above it is printed through this.
        self._above_bar: RichConsole | None = None
        if debug:
            os.environ["EMBCONVERT_DEBUG"] = "1"
            logging.basicConfig(level=logging.INFO, stream=sys.stderr)
        else:
            # Without any handler, Python prints the libraries' warnings itself.
            logging.getLogger().addHandler(logging.NullHandler())

    def say(self, message: str) -> None:
        """Tells what happens, in one line."""
        if not self._quiet:
            self._write(one_line(message))

    def warn(self, message: str) -> None:
        """Tells what the user should know, even when quiet."""
        self._write(f"warning: {one_line(message)}")

    def error(self, message: str, hint: str) -> None:
        """Tells what failed and what to do next, when the program goes on nevertheless."""
        self._write(f"error: {one_line(message)}\nhint: {one_line(hint)}")

    def trace(self, traceback: str) -> None:
        """Shows the traceback of a bug."""
        self._write(lines(traceback, _TRACEBACK_LIMIT))

    def _write(self, text: str) -> None:
        if self._above_bar is not None:
            self._above_bar.print(text, soft_wrap=True)
            return
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - the one place

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """Shows how far a long piece of work is; yields a function that is told of each advance.

        Args:
            what: The work, as "verifying model.onnx".
            total: What the advances add up to.
        """
        if self._terminal:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            title = TextColumn("{task.description}", markup=False)
            columns = (title, BarColumn(), MofNCompleteColumn())
            rich = _rich_console()
            # Redirected, what libraries print would pass rich, which obeys some sequences.
            with Progress(
                *columns, console=rich, transient=True, redirect_stdout=False, redirect_stderr=False
            ) as bars:
                task = bars.add_task(one_line(what, _TITLE_LIMIT), total=total)
                before, self._above_bar = self._above_bar, rich
                try:
                    yield lambda amount: bars.advance(task, amount)
                finally:
                    self._above_bar = before
            return
        yield self._lines(what, total)

    def _lines(self, what: str, total: int) -> Callable[[int], None]:
        """Returns a function that says how far it is, at most every five seconds."""
        done = 0
        said = time.monotonic()

        def advance(amount: int) -> None:
            nonlocal done, said
            done += amount
            if time.monotonic() - said > 5:
                said = time.monotonic()
                self.say(f"{what}: {done} of {total}")

        return advance

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Prints a table; numbers stand right."""
        if self._quiet:
            return
        from rich import box
        from rich.table import Table

        table = Table(title=one_line(title), box=box.SIMPLE_HEAD, title_justify="left")
        for index, name in enumerate(header):
            table.add_column(
                one_line(name), justify="left" if index == 0 else "right", no_wrap=True
            )
        for row in rows:
            table.add_row(*map(one_line, row))
        # Redirected, rich would take 80 columns and cut figures off.
        _rich_console(width=None if self._terminal else 140).print(table)


def _rich_console(width: int | None = None) -> "RichConsole":
    """Returns rich for stderr; a text is never its markup: a folder may be called `[bold]`."""
    from rich.console import Console as RichConsole

    # rich's own sequences are to reach the terminal.
    stream = sys.stderr.uncleaned if isinstance(sys.stderr, _CleanStream) else sys.stderr
    return RichConsole(file=stream, width=width, markup=False, emoji=False, highlight=False)


class _CleanStream(io.TextIOWrapper):
    """A text stream that shows control characters instead of passing them on.

    Attributes:
        uncleaned: The stream itself.
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

    def write(self, text: str, /) -> int:
        super().write(lines(text))
        return len(text)

    def writelines(self, texts: Iterable[str], /) -> None:  # type: ignore[override]
        self.write("".join(texts))


def clean_stderr() -> None:
    """Makes all that this process prints on stderr harmless; again is no change.

    Libraries print too: warnings, logs, tracebacks, with words of the model in them.
    """
    if isinstance(sys.stderr, io.TextIOWrapper) and not isinstance(sys.stderr, _CleanStream):
        sys.stderr.flush()
        sys.stderr = _CleanStream(sys.stderr)
