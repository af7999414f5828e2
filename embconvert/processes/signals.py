"""Signals that ask a process to end: which ones, and what each kind of process does with them.

The main process cleans up and ends, with 128 plus the signal's number. Its children leave the
decision to it, for a terminal or `timeout` sends most signals to the whole process group.

This is imported before signals are handled, so it imports nothing that takes time.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn

#: What people and systems end a run with: Ctrl-C, kill, a terminal or an SSH session that closes,
#: Ctrl-\, batch systems before the time is up (SIGUSR1, SIGUSR2, SIGXCPU), and a timer that was set
#: before this program was started. Python ignores SIGPIPE and SIGXFSZ (`ulimit -f`) by itself:
#: writing then fails with an error.
ENDING = (
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2,
    signal.SIGALRM, signal.SIGXCPU,
)  # fmt: skip
#: Those that a child doesn't obey. SIGTERM is how the parent ends it, and SIGXCPU is its own.
_OF_THE_PARENT = tuple(set(ENDING) - {signal.SIGTERM, signal.SIGXCPU})


def end_at_once() -> None:
    """Makes the signals end the process with a message: while nothing is there to clean up.

    One that was ignored when the program was started stays so: `nohup`, and a shell's `&`.
    """
    _handle(ENDING, _exit)


def _exit(number: int, _frame: object) -> NoReturn:
    with contextlib.suppress(OSError):
        os.write(2, b"error: interrupted\nhint: nothing was started; run it again\n")
    os._exit(128 + number)


def end_in_order() -> None:
    """Makes the signals raise Interrupted in the main thread; see end_at_once()."""
    _handle(ENDING, _interrupt)


def _handle(numbers: Iterable[signal.Signals], handler: Callable[[int, object], None]) -> None:
    for number in numbers:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _interrupt(number: int, _frame: object) -> None:
    # Another signal must not interrupt the clean-up that the first one started; a terminal that
    # closes and a service manager send several.
    # Not SIG_IGN: of one that has arrived just now, Python would print that it is ignored.
    for other in ENDING:
        signal.signal(other, _ignore)
    if _held.blocks:
        _held.number = number
    else:
        _raise_interrupted(number)


def _ignore(_number: int, _frame: object) -> None:
    pass


def _raise_interrupted(number: int) -> NoReturn:
    from embconvert.errors import Interrupted

    raise Interrupted(number)


class _Held:
    """A signal that waits for the end of the blocks that hold it.

    Blocking signals is not enough: they arrive in threads that a library has started, and Python
    then calls the handler in the main thread nevertheless.
    """

    blocks = 0
    number: int | None = None


_held = _Held()


@contextlib.contextmanager
def ending_in_order() -> Iterator[None]:
    """Lets SIGTERM raise Interrupted while the block runs: for a child that has to clean up."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def leave_to_parent() -> None:
    """Makes this process, a child, ignore what its parent decides about."""
    for number in _OF_THE_PARENT:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _OF_THE_PARENT)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Lets a signal that arrives while the block runs wait for its end.

    A child that the block starts inherits that signals are blocked, until it ignores them in
    leave_to_parent(): before that it would end, or print a traceback. SIGTERM reaches it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _OF_THE_PARENT)
    _held.blocks += 1
    try:
        yield
    finally:
        _held.blocks -= 1
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if not _held.blocks and _held.number is not None:
        number, _held.number = _held.number, None
        _raise_interrupted(number)
