"""A tokenizer.json that says what the source's library does to a text, all of it.

The library changes what it has read from the file: it sets padding and truncation with every call,
adds tokens, puts in a step that lowers case, takes another pipeline for the architecture. A
program that reads the file alone must do the same. What the source's file says already stays as it
is, to the byte, so that a published file differs from the source's only where it must.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from embconvert.models.corrections import Correction

TOKENIZER_FILE = "tokenizer.json"

#: The parts of the file that are compared; the decoder makes text of tokens.
_PARTS = ("truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor")


def corrected(
    theirs: str | None, used: Any, *, adds_special_tokens: bool
) -> tuple[str, tuple[Correction, ...]]:
    """Returns the tokenizer.json to publish, and what the source's says otherwise.

    Args:
        theirs: The content of the source's, which was checked; None when there is none.
        used: The tokenizers.Tokenizer that transformers uses, as it is when a text was just read.
        adds_special_tokens: Whether it is asked to put special tokens around texts.
    """
    from tokenizers import Tokenizer

    had = None if theirs is None else Tokenizer.from_str(theirs)
    same_model = had is not None and had.model.__getstate__() == used.model.__getstate__()
    base = theirs if theirs is not None and same_model else used.to_str(pretty=True)
    wanted = _parts(used) | ({} if adds_special_tokens else {"post_processor": None})
    text = _with_members(base, _differences(_parts(had if same_model else used), wanted))
    if had is None:
        return text, ()
    return text, tuple(_contradictions(_parts(had), wanted, same_model=same_model))


def _parts(tokenizer: Any) -> dict[str, Any]:
    """Returns the small parts of a tokenizer as its file would have them."""
    from tokenizers import Tokenizer, models

    bare = Tokenizer(models.WordLevel({}, unk_token=""))
    for name in ("normalizer", "pre_tokenizer", "post_processor"):
        setattr(bare, name, getattr(tokenizer, name))
    if tokenizer.truncation is not None:
        bare.enable_truncation(**tokenizer.truncation)
    if tokenizer.padding is not None:
        bare.enable_padding(**tokenizer.padding)
    value = json.loads(bare.to_str())
    value["added_tokens"] = [
        {"id": number, "content": token.content}
        | {key: getattr(token, key) for key in ("single_word", "lstrip", "rstrip")}
        | {"normalized": token.normalized, "special": token.special}
        for number, token in sorted(tokenizer.get_added_tokens_decoder().items())
    ]
    return {name: value[name] for name in _PARTS}


def _differences(had: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {name: wanted[name] for name in _PARTS if wanted[name] != had[name]}


def _with_members(text: str, members: Mapping[str, Any]) -> str:
    """Returns the text of a JSON object with other values for some keys; the rest stays."""
    indent = 2 if text.lstrip()[1:2] in "\r\n" else None
    separators = None if indent else (",", ":")

    def written(value: object) -> str:
        lines = json.dumps(value, indent=indent, separators=separators).split("\n")
        return "\n  ".join(lines)

    spans = _spans(text)
    for name, start, end in reversed(spans):
        if name in members:
            text = text[:start] + written(members[name]) + text[end:]
    start = text.index("{") + 1
    said = {name for name, *_ in spans}
    for name in members:
        if name not in said:
            gap = "\n  " if indent else ""
            text = f'{text[:start]}{gap}"{name}":{written(members[name])},{text[start:]}'
    return text


def _spans(text: str) -> list[tuple[str, int, int]]:
    """Returns where the values of a JSON object stand in its text, in order.

    A key may occur twice, with the same value.
    """
    decoder = json.JSONDecoder()
    spans: list[tuple[str, int, int]] = []

    def after_space(position: int) -> int:
        while text[position] in " \t\r\n":
            position += 1
        return position

    position = after_space(text.index("{") + 1)
    while text[position] != "}":
        key, position = decoder.raw_decode(text, position)
        start = after_space(after_space(position) + 1)  # behind the colon
        _, end = decoder.raw_decode(text, start)
        spans.append((key, start, end))
        position = after_space(end)
        if text[position] == ",":
            position = after_space(position + 1)
    return spans


def _contradictions(
    had: Mapping[str, Any], wanted: Mapping[str, Any], *, same_model: bool
) -> Iterator[Correction]:
    """Yields the settings of a file that contradict the source; missing ones do not."""
    others = [] if same_model else ["model"]
    for name, value in _differences(had, wanted).items():
        if name not in ("truncation", "padding"):
            others.append(name)
        elif had[name] is not None:
            words = _cuts if name == "truncation" else _pads
            yield Correction(
                file=TOKENIZER_FILE, setting=name, source=words(had[name]), library=words(value)
            )
    for name in others:
        yield Correction(
            file=TOKENIZER_FILE,
            setting=name,
            source=f"has another {name.replace('_', '-')}",
            library="uses the one that is published now",
        )


def _pads(padding: Mapping[str, Any] | None) -> str:
    """Says how texts are filled up, as `padding` of a tokenizer.json has it."""
    if padding is None:
        return "does not pad"
    strategy = padding["strategy"]
    to = f"{strategy['Fixed']} tokens" if isinstance(strategy, dict) else "the longest of a batch"
    multiple = padding["pad_to_multiple_of"]
    multiples = f" and a multiple of {multiple}" if multiple else ""
    side = "on the left " if padding["direction"] == "Left" else ""
    return f"pads texts {side}to {to}{multiples} (with token {padding['pad_id']})"


def _cuts(truncation: Mapping[str, Any] | None) -> str:
    """Says where texts are truncated, as `truncation` of a tokenizer.json has it."""
    if truncation is None:
        return "truncates no text"
    kept = "the last" if truncation["direction"] == "Left" else "the first"
    return f"truncates texts to {kept} {truncation['max_length']} tokens"
