"""SentencePiece's map of texts, read by another program."""

import pytest
from tokenizers.normalizers import Precompiled

from embconvert.derive.tokenizer.charsmap import charsmap
from embconvert.derive.tokenizer.graphemes import keys_of

MAP = {
    "Ä": "ae",
    "中": " 中 ",
    "\x07": "",
    "😀": ":)",
    "e\u0301": "é",
    "x": "中中中",
    "\U0010fffd": "y",
}


@pytest.mark.parametrize("key", MAP)
def test_each_key_is_replaced(key: str) -> None:
    assert Precompiled(charsmap(MAP)).normalize_str(f"-{key}-") == f"-{MAP[key]}-"


def test_other_characters_stay() -> None:
    text = "Å丮\x08😁e\u0302\U0010fffc"
    assert Precompiled(charsmap(MAP)).normalize_str(text) == text


def test_large_maps_replace_every_character() -> None:
    """Their nodes share an array, in which no two may take the same place."""
    large = {chr(code): f"<{code % 97}>" for code in range(0x4E00, 0x9FFF)}
    found = Precompiled(charsmap(large)).normalize_str(" ".join(large))
    assert found == " ".join(large.values())


def test_keys_of_several_characters_are_found_again() -> None:
    import base64

    content = base64.b64encode(charsmap(MAP)).decode()
    assert keys_of(content) == ["e\u0301"]
