"""Options and sessions of ONNX Runtime."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embconvert.processes.resources import session_threads

CPU_PROVIDER = "CPUExecutionProvider"
#: Entries for session_options(): packed weights would be a second copy of all weights.
NO_SECOND_COPY = {"session.disable_prepacking": "1"}
#: Entries for session_options(): idle threads of a session sleep at once.
NO_SPINNING = {"session.intra_op.allow_spinning": "0"}


def session_options(**entries: str) -> Any:
    """Returns options of an onnxruntime.InferenceSession on the CPU.

    The entries are named in onnxruntime_session_options_config_keys.h.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = session_threads()
    # An arena would keep the maximum memory of any batch while the session exists.
    options.enable_cpu_mem_arena = False
    for key, value in entries.items():
        options.add_session_config_entry(key, value)
    return options


def timed_options(threads: int) -> Any:
    """Returns options of a session that is timed, as a consumer's; 0 threads are the default."""
    # Otherwise its threads would still spin during the next session's run.
    options = session_options(**{"session.force_spinning_stop": "1"})
    options.intra_op_num_threads = threads
    options.enable_cpu_mem_arena = True
    return options


def open_session(
    graph: Path | bytes, options: Any, provider: str = CPU_PROVIDER, **named: Any
) -> Any:
    """Opens a graph, given as a file or its content."""
    import onnxruntime

    return onnxruntime.InferenceSession(
        graph if isinstance(graph, bytes) else str(graph),
        options,
        providers=list(dict.fromkeys((provider, CPU_PROVIDER))),
        **named,
    )


class OnnxSession:
    """A graph that is open in ONNX Runtime, by open_session()."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.inputs = [value.name for value in session.get_inputs()]
        self._outputs = [value.name for value in session.get_outputs()]

    def run(self, feed: Mapping[str, Any]) -> dict[str, Any]:
        """Computes all outputs, by name."""
        return dict(zip(self._outputs, self._session.run(None, feed), strict=True))


def plain_options(**entries: str) -> Any:
    """Like session_options(), but without fusions, which could remove requested values."""
    import onnxruntime

    options = session_options(**entries)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options
