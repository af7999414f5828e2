"""The built-in texts, and how texts become a graph's inputs."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embconvert.errors import UsageError
from embconvert.fidelity.texts import (
    PAIR_SIGN,
    Prompted,
    Texts,
    batches,
    calibration_items,
    calibration_texts,
    joined,
    plain,
    prompt_of,
    verification_items,
    verification_texts,
)
from embconvert.models.kinds import Reading


def test_verification_texts_are_many_and_varied() -> None:
    texts = verification_texts()
    assert len(texts.texts) >= 256
    assert len(set(texts.ids)) == len(set(texts.texts)) == len(texts.texts)
    assert "" in texts.texts
    assert sum(len(text.split()) > 380 for text in texts.texts) >= 2
    letters = {unicodedata.name(c, "").split(" ")[0] for text in texts.texts for c in text}
    scripts = {"LATIN", "CYRILLIC", "GREEK", "ARABIC", "HEBREW", "DEVANAGARI", "THAI", "CJK",
               "HIRAGANA", "HANGUL", "TAMIL", "GEORGIAN"}  # fmt: skip
    assert scripts <= letters


def test_calibration_texts_are_others_than_those_that_verify() -> None:
    assert not set(calibration_texts(None).texts) & set(verification_texts().texts)
    assert len(calibration_texts(None).texts) >= 128


def test_a_calibration_file_is_one_text_a_line(tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_text("\ufeffone\n\n two \n", encoding="utf-8")
    assert calibration_texts(file).texts == ("one", "two")
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8"):
        calibration_texts(file)


@given(st.lists(st.integers(1, 600), min_size=1), st.integers(1, 40), st.integers(1, 3000))
def test_batches_hold_every_text_once_within_their_bounds(
    lengths: list[int], most_texts: int, most_tokens: int
) -> None:
    groups = batches(lengths, texts=most_texts, tokens=most_tokens)
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    for group in groups:
        assert len(group) <= most_texts
        padded = len(group) * max(lengths[i] for i in group)
        assert len(group) == 1 or padded <= most_tokens
        assert sum(lengths[i] for i in group) >= 0.8 * padded


def test_pairs_have_each_text_once_on_each_side() -> None:
    texts, pairs = verification_texts(), verification_items(Reading.PAIR)
    assert verification_items(Reading.TEXT).items == texts.texts
    assert verification_items(Reading.TEXT).digest == texts.digest != pairs.digest
    for side in (0, 1):
        assert sorted(plain(pair)[side] for pair in pairs.items) == sorted(texts.texts)
        assert sorted(name.split(PAIR_SIGN)[side] for name in pairs.ids) == sorted(texts.ids)
    assert all(PAIR_SIGN not in name for name in texts.ids)


def test_calibration_texts_are_paired_and_a_tab_makes_a_pair() -> None:
    texts = Texts(ids=("1", "2", "3"), texts=("a", "b\tc", "d"))
    assert calibration_items(texts, Reading.TEXT) == ("a", "b\tc", "d")
    assert calibration_items(texts, Reading.PAIR) == (("a", "b"), ("b", "c"), ("d", "a"))


@pytest.mark.parametrize("reading", [Reading.TEXT, Reading.PAIR])
@pytest.mark.parametrize("prompts", [("", "q: "), ("q: ", "", "d: "), ("", *map(str, range(60)))])
def test_texts_are_shared_out_among_prompts(reading: Reading, prompts: tuple[str, ...]) -> None:
    """Each has about as many, short and long, and no more are read than without prompts."""
    bare, shared = verification_items(reading), verification_items(reading, prompts)
    assert [plain(item) for item in shared.items] == list(bare.items)
    assert (shared.ids, shared.digest) == (bare.ids, bare.digest)
    assert set(shared.shares) == set(prompts)
    assert max(shared.shares.values()) - min(shared.shares.values()) <= 1
    lengths = sorted(len(str(item)) for item in bare.items)
    for prompt in prompts[:3] if len(prompts) < 4 else ():
        own = [len(str(plain(item))) for item in shared.items if prompt_of(item) == prompt]
        assert min(own) < lengths[len(lengths) // 4] < lengths[-len(lengths) // 4] < max(own)


def test_prompts_are_unrelated_to_how_texts_are_paired() -> None:
    """Every second pair is of related texts; so are about half of those with a prompt."""
    shared = verification_items(Reading.PAIR, ("", "q: ")).items
    near = sum(prompt_of(item) == "q: " for item in shared[::2])
    assert 0.35 < near / (len(shared) / 2) < 0.65


def test_more_prompts_than_texts_are_cut() -> None:
    prompts = ("", *map(str, range(1000)))
    shares = verification_items(Reading.TEXT, prompts).shares
    assert min(shares.values()) >= 4
    assert list(shares) != [""]


def test_queries_and_documents_have_the_prompts_of_their_kind() -> None:
    reading = Reading.QUERY_OR_DOCUMENT
    assert verification_items(reading, ("", "q: ")) == verification_items(reading)


def test_calibration_texts_that_have_a_prompt_keep_it() -> None:
    texts = Texts(ids=tuple("12345678"), texts=("q: a", *"bcdefgh"))
    items = calibration_items(texts, Reading.TEXT, ("", "q: "))
    assert items[0] == "q: a"
    assert {prompt_of(item) for item in items[1:]} == {"", "q: "}


def test_a_prompt_goes_before_the_first_text_of_a_pair() -> None:
    assert joined(Prompted("a", "q: ")) == "q: a"
    assert joined(Prompted(("a", "b"), "q: ")) == ("q: a", "b")
    assert joined("a") == "a"
