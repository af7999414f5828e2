"""How much normalizers may expand a text."""

import base64
import struct
from typing import Any

import pytest

from embconvert.errors import SourceError
from embconvert.source.tokenizer_growth import check_growth


def replace(pattern: str, content: str, *, is_regex: bool = False) -> dict[str, Any]:
    kind = "Regex" if is_regex else "String"
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def charsmap(*texts: bytes) -> dict[str, Any]:
    content = struct.pack("<I", 4) + bytes(4) + b"\0".join(texts)
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(content).decode()}


def check(*steps: dict[str, Any]) -> None:
    check_growth([(f"normalizer.normalizers[{n}]", step) for n, step in enumerate(steps)])


@pytest.mark.parametrize(
    "steps",
    [
        (),
        (replace(" ", "▁"), {"type": "NFKC"}),
        (replace("a", "b" * 1000),),
        # Removes what the step before it adds.
        (replace("a", "b" * 1000), replace("b", "")),
        (replace("a", "b" * 100), replace("c", "d" * 1000)),
        ({"type": "Prepend", "prepend": "▁"}, replace(" ", "▁")),
        (replace(r"\s+", " ", is_regex=True),),
        (charsmap(b"fi", b"x" * 256),),
    ],
    ids=str,
)
def test_a_character_may_become_some(steps: tuple[dict[str, Any], ...]) -> None:
    check(*steps)


@pytest.mark.parametrize(
    "steps",
    [
        (replace("a", "b" * 1001),),
        (replace("a", "b" * 100), replace("b", "c" * 100)),
        (replace("a", "b" * 100), replace(".", "cc" * 20, is_regex=True)),
        ({"type": "Prepend", "prepend": "a" * 100}, replace("a", "b" * 100)),
        (charsmap(b"fi", b"x" * 257),),
    ],
    ids=["one step", "two steps", "every character", "after a prefix", "a map"],
)
def test_a_character_may_not_become_thousands(steps: tuple[dict[str, Any], ...]) -> None:
    with pytest.raises(SourceError, match=r"tokenizer\.json: .*expands one character"):
        check(*steps)


@pytest.mark.parametrize(
    "step",
    [
        {"type": "Prepend"},
        {"type": "Replace", "content": "a"},
        {"type": "Replace", "pattern": {"Other": "a"}, "content": "a"},
        {"type": "Precompiled", "precompiled_charsmap": "!"},
        {"type": "Precompiled", "precompiled_charsmap": ""},
    ],
    ids=str,
)
def test_a_malformed_step_is_refused(step: dict[str, Any]) -> None:
    with pytest.raises(SourceError, match=r"tokenizer\.json: normalizer"):
        check(step)
