"""Copies of files in the staging folder."""

from pathlib import Path

import pytest

from embconvert.folder.copies import copy_open_file, link_or_copy


def test_a_link_takes_no_space(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_text("new")
    target.write_text("old")
    link_or_copy(source, target)
    link_or_copy(source, target)
    assert target.samefile(source)


def test_without_links_it_is_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("os.link", refuse)
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_text("new")
    link_or_copy(source, target)
    assert target.read_text() == "new"
    assert not target.samefile(source)


def test_a_folder_is_made_and_not_linked(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").is_dir()


def test_a_copy_replaces_a_link_and_not_the_file_that_it_leads_to(tmp_path: Path) -> None:
    source, other, target = tmp_path / "a", tmp_path / "other", tmp_path / "b"
    source.write_text("new")
    other.write_text("of somebody else")
    target.symlink_to(other)
    with source.open("rb") as stream:
        copy_open_file(stream, target)
    assert (target.read_text(), target.is_symlink()) == ("new", False)
    assert other.read_text() == "of somebody else"
