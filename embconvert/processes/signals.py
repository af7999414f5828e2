"""Signals that end a process, and what each kind of process does with them.

The main process cleans up and exits with 128 plus the signal's number. Its children ignore most of
them: a terminal or `timeout` sends them to the whole process group, and the parent decides.

This module is imported before signals are handled, so it imports nothing slow.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn

#: Signals that end a run: Ctrl-C, kill, a closed terminal or SSH session, Ctrl-\, batch systems
#: before the time is up (SIGUSR1, SIGUSR2, SIGXCPU), and a timer that was set before this program
#: was started. Python itself ignores SIGPIPE and SIGXFSZ (`ulimit -f`): writing then fails with an
#: error.
ENDING = (
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2,
    signal.SIGALRM, signal.SIGXCPU,
)  # fmt: skip
#: Signals that a child ignores. The parent ends it with SIGTERM; SIGXCPU is its own limit.
_OF_THE_PARENT = tuple(set(ENDING) - {signal.SIGTERM, signal.SIGXCPU})


def end_at_once() -> None:
    """Makes the signals end the process with a message, while there is nothing to clean up.

    Signals that were ignored when the program was started stay ignored: `nohup`, and a shell's `&`.
    """
    _handle(ENDING, _exit)


def _exit(number: int, _frame: object) -> NoReturn:
    with contextlib.suppress(OSError):
        os.write(2, b"error: interrupted\nhint: nothing was changed; run the command again\n")
    os._exit(128 + number)


def end_in_order() -> None:
    """Makes the signals raise Interrupted in the main thread; see end_at_once()."""
    _handle(ENDING, _interrupt)


def _handle(numbers: Iterable[signal.Signals], handler: Callable[[int, object], None]) -> None:
    for number in numbers:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _interrupt(number: int, _frame: object) -> None:
    # Further signals, which a closed terminal or a service manager may send, must not interrupt the
    # clean-up. Not SIG_IGN: if one has just arrived, Python would print that it is ignored.
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
    """A signal that waits for the end of the uninterrupted() blocks.

    Blocking signals in this thread is not enough: a thread of a library can receive them, and
    Python then calls the handler in the main thread.
    """

    blocks = 0
    number: int | None = None


_held = _Held()


@contextlib.contextmanager
def ending_in_order() -> Iterator[None]:
    """Makes SIGTERM raise Interrupted during the block, in a child that has to clean up."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def leave_to_parent() -> None:
    """Makes this child process ignore the signals that its parent handles."""
    for number in _OF_THE_PARENT:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _OF_THE_PARENT)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Delays signals that arrive during the block until its end.

    A child started in the block has the signals blocked, too, until leave_to_parent() ignores them:
    otherwise they could end it early, or make it print a traceback. SIGTERM is not blocked.
    """
    # Python calls handlers in the main thread only.
    blocks = int(threading.current_thread() is threading.main_thread())
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _OF_THE_PARENT)
    _held.blocks += blocks
    try:
        yield
    finally:
        _held.blocks -= blocks
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if blocks and not _held.blocks and _held.number is not None:
        number, _held.number = _held.number, None
        _raise_interrupted(number)
