"""A file that the page cache could not hold is written past it, and is the same file."""

import errno
import fcntl
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embconvert.graph import uncached
from embconvert.graph.uncached import open_to_write


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uncached, "available_memory_bytes", lambda: 1 << 20)


def goes_past_the_cache(stream: Any) -> bool:
    return bool(fcntl.fcntl(stream._file, fcntl.F_GETFL) & os.O_DIRECT)


def written(path: Path, parts: list[bytes]) -> bytes:
    with open_to_write(path, 1 << 30) as stream:
        for part in parts:
            assert stream.write(part) == len(part)
    return path.read_bytes()


@pytest.mark.usefixtures("little_memory")
def test_a_file_that_the_cache_holds_is_an_ordinary_one(tmp_path: Path) -> None:
    with open_to_write(tmp_path / "file", 1 << 18) as stream:
        stream.write(b"small")
        assert not isinstance(stream, uncached._Uncached)
    assert (tmp_path / "file").read_bytes() == b"small"


@pytest.mark.usefixtures("little_memory")
def test_a_large_file_goes_past_the_cache_where_its_file_system_can_do_that(
    tmp_path: Path,
) -> None:
    with (tmp_path / "probe").open("wb") as probe:
        try:
            fcntl.fcntl(probe, fcntl.F_SETFL, os.O_DIRECT)
        except OSError:
            pytest.skip("this file system cannot")
    with open_to_write(tmp_path / "file", 1 << 30) as stream:
        assert goes_past_the_cache(stream)


@given(sizes=st.lists(st.integers(0, 3000), max_size=8), buffer=st.sampled_from([512, 4096]))
def test_what_is_written_is_there_whatever_its_parts_are(sizes: list[int], buffer: int) -> None:
    parts = [np.random.default_rng(size).bytes(size) for size in sizes]
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(uncached, "available_memory_bytes", lambda: 1 << 20)
        patch.setattr(uncached, "_BUFFER_BYTES", buffer)
        assert written(Path(folder) / "file", parts) == b"".join(parts)


@pytest.mark.usefixtures("little_memory")
def test_a_file_system_that_refuses_such_writes_gets_ordinary_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = refusing(monkeypatch, errno.EINVAL)
    content = bytes(range(256)) * (1 << 15)  # two buffers
    assert written(tmp_path / "file", [content]) == content
    assert refused or not goes_past_the_cache(uncached._Uncached(tmp_path / "other"))


@pytest.mark.usefixtures("little_memory")
def test_a_full_disk_is_told_at_the_end_at_the_latest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, errno.ENOSPC)
    with pytest.raises(OSError) as caught:
        written(tmp_path / "file", [b"some"] * 3)
    assert caught.value.errno == errno.ENOSPC


def refusing(monkeypatch: pytest.MonkeyPatch, number: int) -> list[int]:
    """Makes writes fail: EINVAL those that go past the cache, any other number all of them."""
    refused: list[int] = []
    open_file = uncached._Uncached.__init__

    class Refusing:
        def __init__(self, file: Any) -> None:
            self._file = file

        def write(self, data: Any) -> int:
            direct = fcntl.fcntl(self._file, fcntl.F_GETFL) & os.O_DIRECT
            if number != errno.EINVAL or direct:
                refused.append(len(data))
                raise OSError(number, os.strerror(number))
            return int(self._file.write(data))

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

    def init(self: Any, path: Path) -> None:
        open_file(self, path)
        self._file = Refusing(self._file)

    monkeypatch.setattr(uncached._Uncached, "__init__", init)
    return refused
