"""Time limits of a worker's task. Libraries cannot be interrupted, so its process is ended.

An untrusted graph or tokenizer may run endlessly.
"""

from dataclasses import dataclass

from embconvert.errors import EmbconvertError, SourceError
from embconvert.processes.bounds import lowered

# Generous: on a slow disk a large graph takes a minute per gigabyte, and a large model some seconds
# per text.
_GRAPH_SECONDS, _SECONDS_PER_GB, _SECONDS_PER_TEXT = 600, 300, 10
# A few hundred texts take less than one second.
_TOKENIZING_SECONDS = 120


@dataclass(frozen=True, kw_only=True)
class TimeLimit:
    """How long a task may take.

    Attributes:
        seconds: How long to wait for it.
        per_text: Additional seconds for each finished text that it reports.
        error: Raised when the time is over.
    """

    seconds: float
    per_text: float = 0.0
    error: EmbconvertError


def graph_limit(size_bytes: int, asked_seconds: int | None) -> TimeLimit:
    """Returns the user's time limit for a graph, or one by size with some time per text."""
    usual = _GRAPH_SECONDS + round(_SECONDS_PER_GB * size_bytes / 1e9)
    seconds = usual if asked_seconds is None else asked_seconds
    per_text = _SECONDS_PER_TEXT if asked_seconds is None else 0
    more = f", plus {per_text} per text" if per_text else ""
    return TimeLimit(
        seconds=seconds,
        per_text=per_text,
        error=SourceError(
            f"work on the graph did not end within {seconds} seconds{more}",
            "its nodes may run endlessly; if you trust the graph, allow more time: "
            f"--max_graph_seconds {10 * max(1, seconds)}",
        ),
    )


def tokenizing_limit() -> TimeLimit:
    """Returns the time limit for tokenizing the texts of a run."""
    seconds = lowered("TOKENIZING_SECONDS", _TOKENIZING_SECONDS)
    return TimeLimit(
        seconds=seconds,
        error=SourceError(
            f"tokenizer.json cannot read embconvert's texts within {seconds} seconds",
            "tokenizer.json may have a regular expression that takes forever; convert on a faster "
            "machine, or do not use this model",
        ),
    )
