"""How long a task of a worker may take: its libraries cannot be interrupted, so its process ends.

A graph or a tokenizer may be somebody's, and have no end.
"""

from dataclasses import dataclass

from embconvert.errors import EmbconvertError, SourceError

# Generous: on a slow disk a large graph takes a minute for each gigabyte, and a text of a large
# model some seconds.
_GRAPH_SECONDS, _SECONDS_PER_GB, _SECONDS_PER_TEXT = 600, 300, 10


@dataclass(frozen=True, kw_only=True)
class TimeLimit:
    """How long a task may take.

    Attributes:
        seconds: Of waiting for it.
        per_text: Seconds more for each text that it tells to have done.
        error: What is raised when they are over.
    """

    seconds: float
    per_text: float = 0.0
    error: EmbconvertError


def graph_limit(size_bytes: int, asked_seconds: int | None) -> TimeLimit:
    """Returns how long work on a graph may take.

    Args:
        size_bytes: Of the graph.
        asked_seconds: As the user says; None for a time by its size, and some for each text.
    """
    usual = _GRAPH_SECONDS + round(_SECONDS_PER_GB * size_bytes / 1e9)
    seconds = usual if asked_seconds is None else asked_seconds
    per_text = _SECONDS_PER_TEXT if asked_seconds is None else 0
    more = f", and {per_text} for each text" if per_text else ""
    return TimeLimit(
        seconds=seconds,
        per_text=per_text,
        error=SourceError(
            f"work on the graph did not end within {seconds} seconds{more}",
            "its nodes may run without an end; if you trust the graph, give it more time: "
            f"--max_graph_seconds {10 * max(1, seconds)}",
        ),
    )
