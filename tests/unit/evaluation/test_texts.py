"""Texts in a scratch file."""

from pathlib import Path

import pytest

from embconvert.evaluation.texts import WINDOW_TEXTS, StoredTexts


def test_texts_are_read_as_they_were_written(tmp_path: Path) -> None:
    texts = StoredTexts(tmp_path / "texts")
    written = ["one", "", "zwei\nZeilen", "三"]
    assert [texts.append(text) for text in written] == [0, 1, 2, 3]
    assert list(texts) == written
    assert texts[1:3] == written[1:3]
    texts.append("later")
    assert texts[4] == "later"
    with pytest.raises(IndexError):
        texts[5]


def test_windows_have_every_text_once_and_few_at_a_time(tmp_path: Path) -> None:
    texts = StoredTexts(tmp_path / "texts")
    assert list(texts.windows()) == []
    for number in range(2 * WINDOW_TEXTS + 1):
        texts.append(str(number))
    windows = list(texts.windows())
    assert [len(window) for window in windows] == [WINDOW_TEXTS, WINDOW_TEXTS, 1]
    assert [n for window in windows for n in window] == list(range(len(texts)))


def test_long_texts_are_in_smaller_windows(tmp_path: Path) -> None:
    texts = StoredTexts(tmp_path / "texts")
    for _ in range(100):
        texts.append("x" * (1 << 20))
    assert max(len(window) for window in texts.windows()) <= 32
