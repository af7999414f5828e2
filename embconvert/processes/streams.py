"""Whose the program's standard streams are: stdout is for the result, and for nothing else."""

import contextlib
import os
import sys
from collections.abc import Iterator

_STDOUT, _STDERR = 1, 2


def open_closed_streams() -> None:
    """Opens standard streams that are closed.

    Otherwise newly opened files would get descriptors 0-2 and receive our output.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
            os.set_inheritable(number, True)  # the workers need it no less
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115


@contextlib.contextmanager
def stdout_for_the_result(*, debug: bool) -> Iterator[None]:
    """Keeps what is printed in the block from stdout, as give_up_stdout()."""
    kept = os.dup(_STDOUT)
    give_up_stdout(debug=debug)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os.dup2(kept, _STDOUT)
        os.close(kept)


def give_up_stdout(*, debug: bool) -> None:
    """Keeps what this process and its children print from the program's stdout, for good.

    Libraries print there from Python and from C: torch's exporter a graph of a thousand lines. With
    `debug` it goes to stderr.
    """
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    if debug:
        os.dup2(_STDERR, _STDOUT)
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, _STDOUT)
    os.close(nowhere)
