"""ONNX Runtime as embconvert uses it everywhere."""

from pathlib import Path
from typing import Any

from embconvert.processes.resources import session_threads

#: Entries for session_options(): packed weights would be a second copy of them all.
NO_SECOND_COPY = {"session.disable_prepacking": "1"}
#: Likewise: a session's threads sleep as soon as a run has no work for them.
NO_SPINNING = {"session.intra_op.allow_spinning": "0"}


def session_options(**entries: str) -> Any:
    """Returns options for an onnxruntime.InferenceSession on the CPU.

    Args:
        entries: Session configuration entries, as onnxruntime_session_options_config_keys.h
            names them.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = session_threads()
    # An arena keeps the most that any batch needed, for as long as the session lives.
    options.enable_cpu_mem_arena = False
    for key, value in entries.items():
        options.add_session_config_entry(key, value)
    return options


def open_session(graph: Path | bytes, options: Any, **named: Any) -> Any:
    """Opens a graph on the CPU, a file or what a file would hold."""
    import onnxruntime

    return onnxruntime.InferenceSession(
        graph if isinstance(graph, bytes) else str(graph),
        options,
        providers=["CPUExecutionProvider"],
        **named,
    )


def plain_options(**entries: str) -> Any:
    """Returns options with which nothing is fused over values that are handed out.

    Args:
        entries: As of session_options().
    """
    import onnxruntime

    options = session_options(**entries)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options
