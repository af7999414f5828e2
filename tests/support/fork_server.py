"""Runs command lines in forks of a process that has the libraries imported already.

A conversion of a tiny model is mostly imports; without them hundreds of runs take minutes. Reads
a JSON object a line from stdin, answers with the exit status, negative for a signal. embconvert
reads its variables when it needs them, so it is imported, too, with what it imports while it runs.
"""

import ctypes
import importlib
import itertools
import json
import multiprocessing
import os
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.events import Events


class LibraryWithoutSwap(ctypes.CDLL):
    """A C library that is too old to swap two folders."""

    def __getattr__(self, name: str) -> Any:
        if name == "renameat2":
            raise AttributeError(name)
        return super().__getattr__(name)


def run(job: dict[str, Any]) -> NoReturn:
    """Becomes the command line."""
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(job[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    context = multiprocessing.get_context("fork")
    multiprocessing.get_context = lambda *_: context  # type: ignore[assignment]
    os.chdir(job["cwd"])
    os.environ.update(job["env"])
    if job["fault"] is not None:
        prepare_fault(job)
    sys.argv = ["embconvert", *job["words"]]

    from embconvert.cli.main import main

    main()


def prepare_fault(job: dict[str, Any]) -> None:
    """Makes this process's world as a test of faults needs it; see faulty_runs.Runner.run()."""
    if not job["can_swap"]:
        ctypes.CDLL = LibraryWithoutSwap  # type: ignore[misc]
    Events(Path(job["parent"]), Path(job["log"]), **job["fault"]).install()
    if job["clock_jumps"]:
        jumps = itertools.cycle((0.0, 1e9, 2**31 + 5.0, 1.0))
        time.time = lambda: next(jumps)
    if job["processes"] is not None:
        resource.setrlimit(resource.RLIMIT_NPROC, (job["processes"], job["processes"]))
    if job["user"] is not None:
        os.setgroups([])
        os.setgid(job["user"])
        os.setuid(job["user"])
        os.environ.pop("HOME", None)


#: What the parent and its workers import, and starts no thread.
LIBRARIES = (
    "multiprocessing.popen_fork", "torch.onnx", "transformers.models.bert.modeling_bert",
    "sentence_transformers",
    "optimum.exporters.tasks", "onnx_ir.passes.common", "onnxruntime.quantization",
    "onnxruntime.transformers.optimizer",
    "jinja2", "markupsafe", "yaml", "email.utils", "sqlite3", "fire", "pydantic.dataclasses",
    "pygal", "importlib_metadata._adapters",
)  # fmt: skip
PRODUCT = (
    "embconvert.cli.main", "embconvert.pipeline.convert", "embconvert.pipeline.run",
    "embconvert.pipeline.tasks", "embconvert.pipeline.file_tasks",
    "embconvert.reporting.compare", "embconvert.reporting.report", "embconvert.reporting.card",
    "embconvert.reporting.page", "embconvert.reporting.pages",
)  # fmt: skip


if __name__ == "__main__":
    for module in (*LIBRARIES, *PRODUCT):
        importlib.import_module(module)
    print("ready", flush=True)  # noqa: T201
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                run(json.loads(line))
            except Exception:  # noqa: BLE001 - an orderly end of a fork waits for ONNX Runtime's threads
                traceback.print_exc()
                os._exit(1)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201
