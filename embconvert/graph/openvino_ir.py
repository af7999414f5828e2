"""Opens and runs files of OpenVINO's Intermediate Representation (IR): an `.xml` and a `.bin`.

OpenVINO is optional (`pip install "embconvert[openvino]"`), so it is imported only here, and by
whoever asks these functions for it.
"""

import importlib
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from embconvert.processes.resources import cpus

IR_SUFFIX = ".xml"
#: Otherwise OpenVINO computes in bfloat16 on CPUs that have it, and the figures are that CPU's.
PRECISION = {"INFERENCE_PRECISION_HINT": "f32"}


def openvino() -> Any:
    """Returns the library, which then reports nothing to its makers.

    Both it and NNCF send what they are used for, and write an identifier into the home folder,
    unless this package is missing.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return importlib.import_module("openvino")


def nncf() -> Any:
    """Returns the library that quantizes graphs of OpenVINO, without torch, which it looks for."""
    openvino()
    with _without("torch", "onnx"):
        return importlib.import_module("nncf")


@contextmanager
def _without(*names: str) -> Iterator[None]:
    """Returns a context in which packages that are not imported yet cannot be found."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules |= dict.fromkeys(hidden)  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


class IrSession:
    """A file of the IR that is open on the CPU; several threads may run it."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        settings: dict[str, Any] = dict(PRECISION)
        if threads:
            streams = max(1, cpus() // threads)
            settings |= {"INFERENCE_NUM_THREADS": threads * streams, "NUM_STREAMS": streams}
        library = openvino()
        self._compiled = library.Core().compile_model(str(path), "CPU", settings)
        # Its binding finds numpy when it makes its first array, and waits forever if two threads
        # make theirs at once (OpenVINO 2026.4: one holds Python's lock, the other the binding's).
        _ = library.Tensor(np.zeros(1, np.float32)).data
        self.inputs = [value.any_name for value in self._compiled.inputs]
        self._outputs = [value.any_name for value in self._compiled.outputs]
        self._local = threading.local()

    def run(self, feed: Mapping[str, Any]) -> dict[str, Any]:
        """Computes all outputs, by name."""
        if not hasattr(self._local, "request"):
            self._local.request = self._compiled.create_infer_request()
        # Its outputs are in the request's memory, which the next run overwrites.
        values = self._local.request.infer(dict(feed), share_inputs=True, share_outputs=False)
        return {name: values[name] for name in self._outputs}
