"""Starting a child process of its own, as multiprocessing does it."""

from multiprocessing import resource_tracker
from multiprocessing.context import SpawnProcess

from embconvert.processes.signals import uninterrupted


def start(process: SpawnProcess) -> None:
    """Starts a process whose main function calls leave_to_parent() first.

    Raises:
        OSError: The system allows no more processes, or no more open files.
    """
    # It is started with the first process; having started, it lets all signals through.
    resource_tracker.ensure_running()
    with uninterrupted():
        process.start()
