"""What the operating system refuses is an error with a hint."""

import errno
import os
from pathlib import Path

import pytest

from embconvert.errors import OutputError
from embconvert.folder.disk import output_errors, refuse_full_disk, refuse_unwritable


def test_a_folder_that_something_is_mounted_on_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="something is mounted there"), output_errors(tmp_path):
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(tmp_path))


@pytest.mark.parametrize("number", [28, 30, 13])
def test_what_the_system_refuses_is_an_output_error_with_a_hint(
    number: int, tmp_path: Path
) -> None:
    with pytest.raises(OutputError) as caught, output_errors(tmp_path):
        raise OSError(number, os.strerror(number), str(tmp_path / "file"))
    assert "--output_parent_dir" in caught.value.hint


def test_a_disk_that_is_too_small_is_found_before_work_starts(tmp_path: Path) -> None:
    refuse_full_disk(tmp_path / "not" / "there", 1)
    with pytest.raises(
        OutputError, match=r"about 1152921504\.6 GB are needed, .* are free"
    ) as caught:
        refuse_full_disk(tmp_path / "not" / "there", 2**60)
    assert "--output_parent_dir" in caught.value.hint


def test_a_folder_that_cannot_be_written_is_found_before_work_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_unwritable(tmp_path / "not" / "there")
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        refuse_unwritable(tmp_path / "file" / "below")
    # root may write everywhere
    monkeypatch.setattr("os.access", lambda _, mode: mode == os.F_OK)
    with pytest.raises(PermissionError, match=tmp_path.name):
        refuse_unwritable(tmp_path)
    read_only = os.statvfs_result([0] * 8 + [os.ST_RDONLY, 255])
    monkeypatch.setattr("os.statvfs", lambda _: read_only)
    with pytest.raises(OSError, match="Read-only file system"):
        refuse_unwritable(tmp_path)
