"""Evaluations beside a folder's files."""

import os
from pathlib import Path

import pytest

from embconvert.errors import SourceError
from embconvert.evaluation.records import EVALUATION_FILE, EVALUATION_PAGE
from embconvert.folder.evaluations import (
    read_evaluations,
    refuse_broken_evaluations,
    write_evaluation,
)
from support.evaluation import evaluation


def test_evaluations_on_other_data_are_kept(tmp_path: Path) -> None:
    assert read_evaluations(tmp_path).evaluations == ()
    first, other = evaluation("1" * 64), evaluation("1" * 64, digest="b" * 64)
    again = evaluation("2" * 64)
    for one in (first, other, again):
        write_evaluation(tmp_path, one, lambda whole: f"{len(whole.evaluations)} of them")
    assert read_evaluations(tmp_path).evaluations == (other, again)
    assert (tmp_path / EVALUATION_PAGE).read_text() == "2 of them"


@pytest.mark.parametrize("content", ["", "{", '{"schema_version": 1}', "[]"])
def test_a_broken_file_is_told_and_not_replaced(tmp_path: Path, content: str) -> None:
    (tmp_path / EVALUATION_FILE).write_text(content)
    with pytest.raises(SourceError, match=r"evaluation\.json is broken"):
        refuse_broken_evaluations(tmp_path)
    with pytest.raises(SourceError, match=r"evaluation\.json is broken") as caught:
        write_evaluation(tmp_path, evaluation("1" * 64), str)
    assert caught.value.hint.startswith("remove it")
    assert (tmp_path / EVALUATION_FILE).read_text() == content
    assert not (tmp_path / EVALUATION_PAGE).exists()


def test_links_and_pipes_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("{}")
    (tmp_path / EVALUATION_FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SourceError, match="is a link, not a file"):
        read_evaluations(tmp_path)
    (tmp_path / EVALUATION_FILE).unlink()
    os.mkfifo(tmp_path / EVALUATION_FILE)
    with pytest.raises(SourceError, match="is a named pipe, not a file"):
        read_evaluations(tmp_path)
