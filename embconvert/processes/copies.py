"""A copy of a worker that has loaded something, to do a second thing with it at the same time.

The copy is a fork: what was loaded is there at once, and takes memory once, for neither changes it.
"""

import contextlib
import gc
import os
import select
import signal
import sys
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

from embconvert.processes.lifetime import die_with


class Copied:
    """A copy's process; like multiprocessing's own as far as a worker needs it.

    Attributes:
        pid: Its id.
        exitcode: Never known: it is the child of another.
    """

    exitcode = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._has_ended = False
        self._handle: int | None = None
        with contextlib.suppress(OSError):  # some sandboxes know no such call
            self._handle = os.pidfd_open(pid)

    def join(self, timeout: float | None = None) -> None:
        """Waits for its end, where that can be seen."""
        assert timeout is None
        if self._handle is not None:
            poll = select.poll()
            poll.register(self._handle, select.POLLIN)
            poll.poll()
            os.close(self._handle)
            self._handle = None
        self._has_ended = True

    def kill(self) -> None:
        """Ends it at once; again is no error."""
        if self._has_ended:
            return
        with contextlib.suppress(ProcessLookupError):
            if self._handle is not None:
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)
            else:  # its id is taken until its parent ends, and it ends then as well
                os.kill(self.pid, signal.SIGKILL)


def ask_for_copy(pipe: "Connection[Any, Any]", pid: int, theirs: "Connection[Any, Any]") -> Copied:
    """Has a process copy itself.

    Args:
        pipe: To the process, which calls copy_process() then.
        pid: Its id.
        theirs: What the copy is to serve.

    Raises:
        EOFError: The process has ended.
    """
    reduction.send_handle(pipe, theirs.fileno(), pid)
    return Copied(pipe.recv())


def copy_process(pipe: "Connection[Any, Any]") -> "Connection[Any, Any]":
    """Copies the calling process; the copy ends with it.

    Args:
        pipe: That ask_for_copy() has the other end of.

    Returns:
        What to serve from now on: the same for the process, another for its copy.
    """
    theirs: Connection[Any, Any] = Connection(reduction.recv_handle(pipe))
    gc.freeze()  # a collection would write to all that both share
    parent, pid = os.getpid(), os.fork()
    if pid:
        theirs.close()
        pipe.send(pid)
        return pipe
    pipe.close()
    die_with(parent)
    if "torch" in sys.modules:
        # The copy has none of the threads that OpenMP may have started, and would wait for them.
        sys.modules["torch"].set_num_threads(1)
    return theirs
