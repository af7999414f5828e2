"""What is forked ends with what it was forked from."""

import os
import signal
import time

import pytest

from embconvert.console import Console
from embconvert.processes.crash import WorkerCrashed
from embconvert.processes.worker import Worker
from embconvert.processes.zygote import Zygote
from support.workers import is_alive, pids


def test_forks_end_with_what_they_were_forked_from() -> None:
    zygote = Zygote((), debug=False)
    worker = Worker(Console(quiet=False, debug=False), zygote=zygote)
    pid, parent = worker.call(pids)
    assert zygote.is_alive
    os.kill(parent, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while is_alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(WorkerCrashed):
        worker.call(pids)
    assert not zygote.is_alive
