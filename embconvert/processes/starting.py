"""Starts a child process through multiprocessing, protected from signals."""

from multiprocessing import resource_tracker
from multiprocessing.context import SpawnProcess

from embconvert.processes.signals import uninterrupted


def start(process: SpawnProcess) -> None:
    """Starts a process that calls leave_to_parent(); raises OSError at a limit of the system."""
    # multiprocessing would start it with the first process. After its start all signals are
    # unblocked, so it must not run in the block.
    resource_tracker.ensure_running()
    with uninterrupted():
        process.start()
