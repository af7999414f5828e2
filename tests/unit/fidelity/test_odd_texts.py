"""Unusual texts for comparing tokenizers."""

import unicodedata

from embconvert.fidelity.odd_texts import COUNT, odd_texts


def test_they_are_the_same_in_every_run() -> None:
    assert odd_texts(["<s>"]) == odd_texts(["<s>"])
    assert len(odd_texts()) == COUNT


def test_they_have_characters_of_every_category_but_no_nul() -> None:
    characters = {character for text in odd_texts() for character in text}
    categories = {unicodedata.category(character) for character in characters}
    assert len(categories) >= 29
    assert "\0" not in characters


def test_they_have_the_tokens_blank_texts_long_words_and_texts_around_the_maximum() -> None:
    texts = odd_texts(["<s>", "[MASK]"], ["word"], most=64)
    assert {"", " ", "\n"} <= set(texts)
    assert any("<s>" in text for text in texts)
    assert any("[MASK]" in text and "<s>" in text for text in texts)
    assert any(len(word) > 100 for text in texts for word in text.split())
    assert {63, 64, 65} <= {len(text.split(" ")) for text in texts}
