"""All messages to the user go to stderr; stdout is for results."""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from embconvert.foreign_text import lines, one_line
from embconvert.overriding import override
from embconvert.stderr import CleanStream, Level, LogFormat, as_text, log, log_format
from embconvert.tables import Column, print_table

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.progress import Progress as Bars

#: Maximum number of characters of a traceback, which includes its exception's message.
TRACEBACK_LIMIT = 20_000
#: Maximum number of characters before a progress bar.
_TITLE_LIMIT = 100
_UNLIMITED_WIDTH = 10_000
#: Seconds between two reports of a Relay about the same work.
_RELAY_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a run does or says.

    Attributes:
        message: One line, such as "verifying onnx/model.onnx".
        is_warning: Whether it is a warning.
        done: How much of the work is done; None for a message without a measure.
        total: The whole work, in the unit of `done`: texts, or MB.
    """

    message: str
    is_warning: bool = False
    done: int | None = None
    total: int | None = None


def show_library_messages(debug: bool) -> None:
    """Says whether this process and its children show what libraries print and log."""
    if debug:
        os.environ["EMBCONVERT_DEBUG"] = "1"
        logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    else:
        os.environ.pop("EMBCONVERT_DEBUG", None)
        # Without any handler, Python prints the libraries' warnings itself.
        logging.getLogger().addHandler(logging.NullHandler())


class Console:
    """Prints messages and progress.

    Bars are shown on a terminal only: in a log, each stage has one line.

    Args:
        quiet: Print only warnings and errors.
        debug: Print the times of jobs.

    Attributes:
        debug: As given.
    """

    def __init__(self, *, quiet: bool, debug: bool) -> None:
        self._quiet = quiet
        self.debug = debug
        is_text = log_format() is LogFormat.TEXT
        self._terminal = is_text and sys.stderr.isatty() and not quiet
        #: While there are bars, messages are printed above them.
        self._bars: Bars | None = None

    def say(self, message: str) -> None:
        """Prints what happens, as one line."""
        if not self._quiet:
            self._log(Level.INFO, one_line(message))

    def warn(self, message: str) -> None:
        """Prints a warning, even when quiet."""
        self._log(Level.WARNING, one_line(message))

    def error(self, message: str, hint: str) -> None:
        """Prints an error and its hint, when the program goes on after it."""
        self._log(Level.ERROR, one_line(message), one_line(hint))

    def tell(self, progress: Progress) -> None:
        """Prints what another process's Relay was told."""
        (self.warn if progress.is_warning else self.say)(progress.message)

    def trace(self, traceback: str) -> None:
        """Prints the traceback of a bug."""
        self._log(Level.LIBRARY, lines(traceback, TRACEBACK_LIMIT))

    def _log(self, level: Level, message: str, hint: str | None = None) -> None:
        if self._bars is not None:
            self._bars.console.print(as_text(level, message, hint), soft_wrap=True)
            return
        log(level, message, hint=hint)

    @contextmanager
    def progress(self, what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """Shows a bar for a long piece of work, on a terminal; may be used several times at once.

        Args:
            what: The work, such as "verifying model.onnx".
            total: Sum of all advances; None if it is not known: the bar only moves.

        Yields:
            A function to call with each advance.
        """
        if not self._terminal:
            yield lambda _: None
            return
        if self._bars is None:
            self._bars = progress_bars(_rich_console())
            self._bars.start()
        bars = self._bars
        task = bars.add_task(one_line(what, _TITLE_LIMIT), total=total)
        try:
            yield lambda amount: bars.advance(task, amount)
        finally:
            bars.remove_task(task)
            if not bars.tasks:
                bars.stop()
                self._bars = None

    def table(self, title: str, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
        """Prints a title and a table, as wide as the terminal allows."""
        if self._quiet:
            return
        if log_format() is LogFormat.JSON:
            titles = [one_line(column.title) for column in columns]
            cells = [list(map(one_line, row)) for row in rows]
            log(Level.INFO, one_line(title), columns=titles, rows=cells)
            return
        self.say(title)
        # Without a terminal the whole table is printed: rich would limit it to 80 columns.
        rich = _rich_console(width=None if self._terminal else _UNLIMITED_WIDTH)
        print_table(
            rich,
            [replace(column, title=one_line(column.title)) for column in columns],
            [list(map(one_line, row)) for row in rows],
        )


class Relay(Console):
    """Prints nothing and changes nothing in this process: gives all messages to a function.

    Args:
        tell: Called with each; None drops them.
    """

    def __init__(
        self,
        tell: Callable[[Progress], object] | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tell = tell
        self._clock = clock
        self.debug = False

    @override
    def tell(self, progress: Progress) -> None:
        if self._tell is not None:
            self._tell(progress)

    @override
    def say(self, message: str) -> None:
        self.tell(Progress(message=one_line(message)))

    @override
    def warn(self, message: str) -> None:
        self.tell(Progress(message=one_line(message), is_warning=True))

    @override
    def error(self, message: str, hint: str) -> None:
        self.warn(f"{message} ({hint})")

    @override
    def trace(self, traceback: str) -> None:
        self.warn(traceback)

    @contextmanager
    @override
    def progress(self, what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        if total is None:  # the stage's line was told
            yield lambda _: None
            return
        title = one_line(what, _TITLE_LIMIT)
        done, told = 0, self._clock()
        self.tell(Progress(message=title, done=0, total=total))

        def advance(amount: int) -> None:
            nonlocal done, told
            done += amount
            # A download advances with each block of bytes.
            if done >= total or self._clock() - told > _RELAY_S:
                told = self._clock()
                self.tell(Progress(message=title, done=done, total=total))

        yield advance

    @override
    def table(self, title: str, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
        """The figures are in the result."""


def _rich_console(width: int | None = None) -> "RichConsole":
    """Returns a console of rich for stderr, without markup: a folder may be called `[bold]`."""
    from rich.console import Console as RichConsole

    # rich's own sequences must reach the terminal.
    stream = sys.stderr.uncleaned if isinstance(sys.stderr, CleanStream) else sys.stderr
    return RichConsole(file=stream, width=width, markup=False, emoji=False, highlight=False)


def progress_bars(console: "RichConsole") -> "Bars":
    """Returns a display of bars on a console, each with its count, elapsed and expected time."""
    from rich.progress import BarColumn, ProgressColumn, Task, TextColumn
    from rich.progress import Progress as Bars
    from rich.table import Column as RichColumn
    from rich.text import Text

    class FiguresColumn(ProgressColumn):
        @override
        def render(self, task: Task) -> Text:
            return Text(_figures(task.completed, task.total, task.elapsed, task.time_remaining))

    # Redirected, the libraries' output would pass through rich, which interprets some sequences.
    return Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        # On a narrow terminal the bar is shortened, not the words.
        FiguresColumn(table_column=RichColumn(no_wrap=True)),
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )


def _figures(
    done: float, total: float | None, elapsed_s: float | None, left_s: float | None
) -> str:
    """Returns the figures beside a bar, such as `7/29, 5 s of about 21 s`."""
    count = "" if total is None else f"{done:.0f}/{total:.0f}, "
    elapsed = elapsed_s or 0
    expected = "" if left_s is None else f" of about {elapsed + left_s:.0f} s"
    return f"{count}{elapsed:.0f} s{expected}"
