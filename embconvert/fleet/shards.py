"""Divides a list into parts that are equal on every machine and stable when the list changes."""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence

from embconvert.errors import UsageError
from embconvert.fleet.entries import Entry
from embconvert.request.records import BatchRequest, Shard
from embconvert.request.values import whole_number

INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
COUNT_VARIABLE = "JOB_COMPLETIONS"
#: Maximum number of jobs in a matrix of GitHub Actions:
#: https://docs.github.com/en/actions/reference/limits
MOST_MATRIX_JOBS = 256


def entries_of_shard(entries: Sequence[Entry], shard: Shard) -> list[Entry]:
    """Returns a shard's part of a list, in the list's order.

    The entries, ordered by the hash of their key, are cut into runs of equal length. So the sizes
    of parts differ by at most one model, and adding or removing a model moves at most one other
    model per shard.
    """
    return _cut(_ordered(entries), shard)


def _ordered(entries: Sequence[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: hashlib.sha256(entry.key.encode()).digest())


def _cut(ordered: Sequence[Entry], shard: Shard) -> list[Entry]:
    start, end = ((shard.index + i) * len(ordered) // shard.count for i in (0, 1))
    return sorted(ordered[start:end], key=lambda entry: entry.line)


def chosen_shard(
    request: BatchRequest, environment: Mapping[str, str] = os.environ
) -> Shard | None:
    """Returns the requested shard, None for the whole list; Kubernetes tells a pod its index.

    Raises UsageError for `--shard auto` without the variables of an Indexed Job.
    """
    if request.shard is None or isinstance(request.shard, Shard):
        return request.shard
    index = _number(environment, INDEX_VARIABLE, "an Indexed Job of Kubernetes sets it")
    count = request.shards
    if count is None:
        count = _number(
            environment, COUNT_VARIABLE, "give --shards N, or set it to the Job's completions"
        )
    if index >= count:
        raise UsageError(
            f"{INDEX_VARIABLE} is {index}, but there are only {count} shards",
            f"set --shards or {COUNT_VARIABLE} to the Job's completions",
        )
    return Shard(index=index, count=count)


def _number(environment: Mapping[str, str], name: str, cure: str) -> int:
    word = environment.get(name, "")
    if not word:
        raise UsageError(f"--shard auto needs the variable {name}, which is not set", cure)
    number = whole_number(word)
    if number is None:
        raise UsageError(f"--shard auto needs a number in {name}, not {word!r}", cure)
    return number


def matrix(entries: Sequence[Entry], count: int | None) -> dict[str, list[dict[str, str]]]:
    """Returns the shards as the matrix of GitHub Actions; None shards are one per model.

    Raises UsageError above the maximum of Actions.
    """
    if count is not None and count > MOST_MATRIX_JOBS:
        raise UsageError(
            f"--shards {count}: GitHub Actions runs at most {MOST_MATRIX_JOBS} jobs of a matrix",
            f"give --shards {MOST_MATRIX_JOBS} or fewer",
        )
    count = min(count or len(entries), len(entries), MOST_MATRIX_JOBS)
    ordered = _ordered(entries)
    parts = [_cut(ordered, Shard(index=i, count=count)) for i in range(count)]
    include = [
        {
            "shard": str(Shard(index=index, count=count)),
            "id": _stable_id(part) if len(part) == 1 else f"{index + 1}-of-{count}",
            "name": part[0].model_id + (f" and {len(part) - 1} more" if len(part) > 1 else ""),
            "models": ", ".join(entry.model_id for entry in part),
        }
        for index, part in enumerate(parts)
    ]
    return {"include": include}


def _stable_id(part: Sequence[Entry]) -> str:
    """Returns a name for files and caches that does not change when the list grows."""
    (entry,) = part
    slug = re.sub(r"[^A-Za-z0-9._-]+", "--", entry.model_id).strip("-.")
    return f"{slug}-{hashlib.sha256(entry.key.encode()).hexdigest()[:8]}"
