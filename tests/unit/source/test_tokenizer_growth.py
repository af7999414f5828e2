"""How much normalizers and pre-tokenizers may expand a text."""

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


BYTES = {"type": "ByteLevel", "add_prefix_space": True}
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}


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
        # What models have: ALBERT's, CLIP's, BERT's, and those that spell numbers.
        (
            replace("``", '"'),
            {"type": "NFKD"},
            {"type": "StripAccents"},
            {"type": "Lowercase"},
            charsmap("صلى الله عليه وسلم".encode()),
            replace(" {2,}", " ", is_regex=True),
            METASPACE,
        ),
        ({"type": "NFC"}, replace(r"\s+", " ", is_regex=True), {"type": "Lowercase"}, BYTES),
        ({"type": "NFKC"}, replace(" ", "▁"), {"type": "BertNormalizer"}, replace("▁▁", "▁ ▁")),
        tuple(replace(f"{n}½", f"{n} 1/2") for n in range(10)),
        (BYTES, {"type": "ByteLevel"}),
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
        (charsmap(b"x" * 256),) * 2,
        (replace("a", "b" * 100), charsmap(b"x" * 256)),
        (charsmap(b"x" * 256), replace("b", "c" * 100)),
        (replace("a", "B" * 100), {"type": "Lowercase"}, replace("b", "c" * 100)),
        (replace("a", "ｂ" * 100), {"type": "NFKC"}, replace("b", "c" * 100)),
        (replace("a", "é" * 100), {"type": "BertNormalizer"}, replace("e", "c" * 100)),
        (replace("a", "b" * 100), replace(".", "x", is_regex=True), replace("x", "y" * 100)),
        (replace("a", "ﷺ" * 100), {"type": "NFKD"}),
        ({"type": "ByteLevel"},) * 40,
        (BYTES,) * 10,
        (METASPACE, METASPACE | {"replacement": "_"}) * 10,
    ],
    ids=[
        "one step", "two steps", "every character", "after a prefix", "a map", "two maps",
        "a map of many", "many of a map", "in lower case", "in Unicode's form", "without accents",
        "any letter", "by Unicode", "bytes of bytes", "bytes of bytes after spaces",
        "signs in turns",
    ],
)  # fmt: skip
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
