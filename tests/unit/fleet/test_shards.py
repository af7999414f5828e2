"""Shards are the same everywhere, equal in size, and steady."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embconvert.cli import main as cli
from embconvert.errors import UsageError
from embconvert.fleet.entries import Entry
from embconvert.fleet.shards import chosen_shard, entries_of_shard, matrix
from embconvert.models.choices import Command
from embconvert.request.records import AUTO_SHARD, BatchRequest, Request, Shard


def entries(names: list[str]) -> list[Entry]:
    return [
        Entry(line=line, request=Request(command=Command.ALL, model_id=name), folder=Path(name))
        for line, name in enumerate(names, start=1)
    ]


NAMES = st.lists(st.text("abcdef/", min_size=1, max_size=8), unique=True, max_size=60)


@given(NAMES, st.integers(1, 12))
def test_every_model_is_in_one_shard_and_shards_are_equal(names: list[str], count: int) -> None:
    everything = entries(names)
    parts = [entries_of_shard(everything, Shard(index=i, count=count)) for i in range(count)]
    assert sorted(e.model_id for part in parts for e in part) == sorted(names)
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert all(part == sorted(part, key=lambda e: e.line) for part in parts)


@given(NAMES, st.integers(1, 12), st.text("xyz", min_size=1))
def test_a_new_model_moves_one_other_a_shard_at_most(
    names: list[str], count: int, new: str
) -> None:
    def places(names: list[str]) -> dict[str, int]:
        return {
            e.model_id: i
            for i in range(count)
            for e in entries_of_shard(entries(names), Shard(index=i, count=count))
        }

    before, after = places(names), places([new, *names])
    assert sum(before[name] != after[name] for name in names) < max(count, 2)


def test_the_order_of_the_list_does_not_matter() -> None:
    names = [f"org/m{i}" for i in range(20)]
    shard = Shard(index=1, count=3)
    one = entries_of_shard(entries(names), shard)
    other = entries_of_shard(entries(names[::-1]), shard)
    assert {e.model_id for e in one} == {e.model_id for e in other}
    # For good: another assignment would move what a fleet has on its disks.
    assert sorted(e.model_id for e in one)[:3] == ["org/m0", "org/m13", "org/m14"]


def auto(environment: dict[str, str], shards: int | None = None) -> Shard | None:
    request = BatchRequest(file=Path("l"), shard=AUTO_SHARD, shards=shards)
    return chosen_shard(request, environment)


def test_auto_is_what_kubernetes_says() -> None:
    assert auto({"JOB_COMPLETION_INDEX": "0", "JOB_COMPLETIONS": "4"}) == Shard(index=0, count=4)
    assert auto({"JOB_COMPLETION_INDEX": "4", "JOB_COMPLETIONS": "4"}, 5) == Shard(index=4, count=5)
    assert chosen_shard(BatchRequest(file=Path("l")), {}) is None


@pytest.mark.parametrize(
    ("environment", "message", "hint"),
    [
        ({}, "JOB_COMPLETION_INDEX, which is not set", "Indexed Job"),
        ({"JOB_COMPLETION_INDEX": "0"}, "JOB_COMPLETIONS, which is not set", "give --shards"),
        (
            {"JOB_COMPLETION_INDEX": "x", "JOB_COMPLETIONS": "4"},
            "a number in JOB_COMPLETION_INDEX, not 'x'",
            "Indexed Job",
        ),
        (
            {"JOB_COMPLETION_INDEX": "4", "JOB_COMPLETIONS": "4"},
            "there are only 4 shards",
            "--shards",
        ),
    ],
)
def test_auto_elsewhere_is_an_error(environment: dict[str, str], message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        auto(environment)
    assert hint in caught.value.hint


@pytest.mark.parametrize("word", ["0/4", "5/4", "1", "1/", "/4", "a/b", "-1/4", "1/4/2", "1/0"])
def test_what_is_no_shard_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="must be a part of a list"):
        cli.parse(["batch", "models.yaml", f"--shard={word}"])


def test_a_shard_is_read_as_it_is_written() -> None:
    for word in ("1/4", "4/4", "1/1"):
        assert str(cli.parse(["batch", "models.yaml", "--shard", word])[1].shard) == word


def test_the_matrix_names_the_shards_and_what_is_in_them() -> None:
    listed = entries(["org/a", "org/b", "org/c"])
    made = matrix(listed, None)
    assert sorted(job["models"] for job in made["include"]) == ["org/a", "org/b", "org/c"]
    assert [job["shard"] for job in made["include"]] == ["1/3", "2/3", "3/3"]
    (one, two) = matrix(listed, 2)["include"]
    assert (one["name"], two["name"].endswith(" and 1 more")) == (one["models"], True)
    assert two["id"] == "2-of-2"
    assert json.loads(json.dumps(made)) == made


def test_a_entries_of_shard_one_model_keeps_its_id_when_the_list_grows() -> None:
    def ids(names: list[str]) -> set[str]:
        return {job["id"] for job in matrix(entries(names), None)["include"]}

    names = ["org/a", "./local folder/x", "org/b"]
    assert ids(names) < ids([*names, "org/c"])
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) for name in ids(names))


def test_the_matrix_stays_within_what_actions_runs() -> None:
    assert len(matrix(entries([str(i) for i in range(1000)]), None)["include"]) == 256
    with pytest.raises(UsageError, match="at most 256"):
        matrix(entries(["a"]), 257)
    with pytest.raises(UsageError, match="cannot be used together"):
        cli.parse(["batch", "l", "--list_json", "--shard", "1/2"])
