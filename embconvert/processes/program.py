"""A child process that is a new interpreter, started by whatever program uses embconvert.

multiprocessing would import that program's main module again: a script without
`if __name__ == "__main__"` would start over in the child. It also refuses children of daemonic
processes.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from embconvert.processes.child import serve
from embconvert.processes.signals import uninterrupted

# Only the caller's path is searched for modules, as in the caller.
_CODE = (
    "import sys; sys.path[:] = sys.argv[3:]; "
    "from embconvert.processes.program import run; run(*map(int, sys.argv[1:3]))"
)


class Program(subprocess.Popen[bytes]):
    """Serves a pipe; has the methods of multiprocessing's class that Worker needs.

    Args:
        pipe: For `child.serve`, as preload and debug.
        is_silent: Drop what it prints on stderr.
    """

    def __init__(
        self,
        pipe: "Connection[Any, Any]",
        parent_pipe: "Connection[Any, Any]",
        *,
        preload: Sequence[str],
        debug: bool,
        is_silent: bool,
    ) -> None:
        numbers = [str(pipe.fileno()), str(os.getpid())]
        path = [entry for entry in sys.path if isinstance(entry, str)]
        with uninterrupted():
            super().__init__(
                [sys.executable, "-P", "-c", _CODE, *numbers, *path],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL if is_silent else None,
                pass_fds=[pipe.fileno()],
                # The libraries read files in the locale's encoding, and some accept only UTF-8
                # paths.
                env=os.environ | {"PYTHONUTF8": "1"},
            )
        parent_pipe.send((debug, tuple(preload)))

    @property
    def exitcode(self) -> int | None:
        """Known after join()."""
        return self.returncode

    def join(self, timeout: float | None = None) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(timeout)


def run(pipe_number: int, parent: int) -> None:
    sys.argv[:] = ["embconvert"]
    pipe: Connection[Any, Any] = Connection(pipe_number)
    debug, preload = pipe.recv()
    serve(pipe, debug, parent, preload)
