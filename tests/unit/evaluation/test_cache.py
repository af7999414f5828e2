"""What was computed once is not computed again; a cache that fails is only slow."""

import os
import sqlite3
from pathlib import Path

import pytest

from embconvert.evaluation.cache import Cache, cache_folder, key_of, remove_oldest


def cache(folder: Path | None, graph: str = "graph", said: list[str] | None = None) -> Cache:
    return Cache(folder, graph, ([] if said is None else said).append)


def test_rows_are_found_again_by_another_process(tmp_path: Path) -> None:
    with cache(tmp_path) as first:
        first.put({b"a": b"1", b"b": b""})
    with cache(tmp_path) as second:
        assert second.get([b"a", b"b", b"c"]) == {b"a": b"1", b"b": b""}
    with cache(tmp_path, "another graph") as other:
        assert other.get([b"a"]) == {}


def test_a_user_without_a_home_has_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would be one named ~ where the user happens to be."""
    assert cache_folder("evaluations", {"HF_HOME": "~no-such-user/x"}) is None
    monkeypatch.setenv("HOME", "~")  # what expanduser() makes of a user without an entry
    assert cache_folder("evaluations", {}) is None
    assert cache_folder("evaluations", {"XDG_CACHE_HOME": "~/c"}) is None
    assert cache_folder("evaluations", {"HF_HOME": "/h"}) == Path("/h/embconvert/evaluations")


def test_without_a_folder_nothing_is_cached_and_that_is_said() -> None:
    said: list[str] = []
    with cache(None, said=said) as found:
        found.put({b"a": b"1"})
        assert found.get([b"a"]) == {}
    assert said == ["outputs are not cached: this user has no home folder; set HF_HOME to another"]


def test_more_keys_than_a_query_may_have(tmp_path: Path) -> None:
    rows = {str(number).encode(): b"x" for number in range(2500)}
    with cache(tmp_path) as found:
        found.put(rows)
        assert found.get(list(rows)) == rows


def test_two_processes_write_one_file(tmp_path: Path) -> None:
    with cache(tmp_path) as first, cache(tmp_path) as second:
        first.put({b"a": b"1"})
        second.put({b"a": b"1", b"b": b"2"})
        assert first.get([b"a", b"b"]) == {b"a": b"1", b"b": b"2"}


def test_a_damaged_file_is_replaced(tmp_path: Path) -> None:
    with cache(tmp_path) as found:
        found.put({b"a": b"1"})
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"nothing that SQLite wrote" * 100)
    said: list[str] = []
    with cache(tmp_path, said=said) as found:
        assert found.get([b"a"]) == {}
        found.put({b"a": b"1"})
        assert found.get([b"a"]) == {b"a": b"1"}
    assert said == []


def test_where_nothing_can_be_written_nothing_is_cached_and_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said: list[str] = []
    with cache(tmp_path / "file", said=said) as found:
        found.put({b"a": b"1"})
        assert found.get([b"a"]) == {}
    (message,) = said
    assert message.startswith(f"outputs are not cached in {tmp_path / 'file'}")


def test_a_file_whose_reading_fails_is_given_up(tmp_path: Path) -> None:
    said: list[str] = []
    with cache(tmp_path, said=said) as found:
        (path,) = tmp_path.iterdir()
        with sqlite3.connect(path) as other:
            other.execute("DROP TABLE rows")
        assert found.get([b"a"]) == {}
        found.put({b"a": b"1"})
    assert len(said) == 1


def test_the_least_recently_used_files_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, graph in enumerate(("old", "new")):
        with cache(tmp_path, graph) as found:
            found.put({b"a": bytes(50_000)})
        (path,) = (p for p in tmp_path.iterdir() if p.stat().st_mtime > 1000)
        os.utime(path, (number, number))
    monkeypatch.setenv("EMBCONVERT_EVALUATION_CACHE_BYTES", "80000")
    cache(tmp_path, "newest")
    with cache(tmp_path, "old") as old, cache(tmp_path, "new") as new:
        assert old.get([b"a"]) == {}
        assert len(new.get([b"a"])) == 1


def test_a_file_that_another_run_removes_first_is_no_problem(tmp_path: Path) -> None:
    class Listed(type(tmp_path)):  # type: ignore[misc]
        """A folder in which another run is at work."""

        def glob(self, pattern: str) -> list[Path]:
            found = sorted(tmp_path.glob(pattern))
            (tmp_path / "gone.npz").unlink()
            return found

    for name in ("gone.npz", "old.npz", "kept.npz"):
        (tmp_path / name).write_bytes(b"12345678")
    os.utime(tmp_path / "old.npz", (1, 1))
    remove_oldest(Listed(tmp_path), 8, kept=tmp_path / "kept.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["kept.npz"]


def test_a_full_cache_takes_no_more_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBCONVERT_EVALUATION_CACHE_BYTES", "20000")
    said: list[str] = []
    with cache(tmp_path, said=said) as found:
        for number in range(5):
            found.put({bytes([number]): bytes(20_000)})
    assert said == ["the cache of outputs is full: more than 20000 bytes"]


def test_the_folder_is_beside_the_hubs_cache() -> None:
    assert cache_folder("evaluations", {"HF_HOME": "/models/.cache/huggingface"}) == Path(
        "/models/.cache/huggingface/embconvert/evaluations"
    )
    assert cache_folder("evaluations", {"XDG_CACHE_HOME": "/c"}) == Path(
        "/c/huggingface/embconvert/evaluations"
    )
    usual = cache_folder("evaluations", {})
    assert usual is not None
    assert usual.is_absolute()


def test_keys_tell_the_parts_apart() -> None:
    assert key_of("ab", "c") != key_of("a", "bc")
    assert key_of("query", "a") != key_of("text", "a")
