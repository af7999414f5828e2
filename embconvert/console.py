"""Everything that is said to the user, on stderr; stdout is for results."""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


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
        if debug:
            os.environ["EMBCONVERT_DEBUG"] = "1"
            logging.basicConfig(level=logging.INFO, stream=sys.stderr)
        else:
            # Without any handler, Python prints the libraries' warnings itself.
            logging.getLogger().addHandler(logging.NullHandler())

    def say(self, message: str) -> None:
        """Tells what happens."""
        if not self._quiet:
            self._write(message)

    def warn(self, message: str) -> None:
        """Tells what the user should know, even when quiet."""
        self._write(f"warning: {message}")

    def error(self, message: str, hint: str) -> None:
        """Tells what failed and what to do next, when the program goes on nevertheless."""
        self._write(f"error: {message}\nhint: {hint}")

    def _write(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - the one place

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """Shows how far a long piece of work is; yields a function that is told of each advance.

        Args:
            what: The work, as "verifying model.onnx".
            total: What the advances add up to.
        """
        if self._terminal:
            from rich.console import Console as RichConsole
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            with Progress(*columns, console=RichConsole(stderr=True), transient=True) as bars:
                task = bars.add_task(what, total=total)
                yield lambda amount: bars.advance(task, amount)
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
        from rich.console import Console as RichConsole
        from rich.table import Table

        table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
        for index, name in enumerate(header):
            table.add_column(name, justify="left" if index == 0 else "right", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        # Redirected, rich would take 80 columns and cut figures off.
        RichConsole(stderr=True, width=None if self._terminal else 140).print(table)
