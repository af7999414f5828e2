"""Starts the first child process of a run, which imports libraries while the run is prepared.

torch or ONNX Runtime take longer to import than all of embconvert, so this module imports little.
"""

from pathlib import Path

from embconvert.models.choices import Command
from embconvert.processes.limits import refuse_missing_proc
from embconvert.processes.resources import limit_threads
from embconvert.processes.workers import Workers
from embconvert.request.places import output_folder
from embconvert.request.records import Request


def start_early(request: Request, workers: Workers) -> None:
    """Starts the process that a run needs first, unless it is there. It imports in the background.

    That is the source's for a new folder, and otherwise, as most runs only add files then, the one
    that works on graphs.

    Raises:
        UsageError: The output folder is the source's, or the model id is no folder and no hub id.
    """
    refuse_missing_proc()
    limit_threads()
    if request.command in (Command.EXPORT, Command.ALL) and not _is_there(output_folder(request)):
        workers.prepare_for_source()
    else:
        workers.prepare()


def _is_there(folder: Path) -> bool:
    """Whether a folder exists; a parent that may not be searched is an error later."""
    try:
        return folder.exists()
    except OSError:
        return False
