"""Figures and texts for display."""

from collections.abc import Sequence
from functools import cache

from embconvert.fidelity.ranking import Neighbours
from embconvert.fidelity.texts import PAIR_SIGN, is_query_id, verification_texts

_BEGINNING = 140


def cosine_text(value: float) -> str:
    """Returns a cosine with enough digits to tell it from 1."""
    return f"{value:.5f}" if value < 0.99999 else f"{value:.7f}"


def kept_text(neighbours: Neighbours | None) -> str:
    return "–" if neighbours is None else f"{neighbours.kept:.1%}"


def loss_text(value: float) -> str:
    return f"−{value:.4f}" if value >= 0.0001 else f"−{value:.1e}"


def size_text(megabytes: float) -> str:
    return f"{megabytes:.1f} MB" if megabytes >= 1 else f"{megabytes * 1000:.1f} kB"


def beginning(text_id: str) -> str:
    """Returns the start of a verification text (of a pair: both texts) in visible characters."""
    as_query = is_query_id(text_id)
    # A pair has two texts; an edited manifest may name any number.
    parts = (text_id.partition(":")[2] if as_query else text_id).split(PAIR_SIGN, 2)
    shown = " ↔ ".join(map(_beginning_of_one, parts[:2]))
    return f"(as a query) {shown}" if as_query else shown


def _beginning_of_one(text_id: str) -> str:
    text = _texts().get(text_id)
    if text is None:
        return "(a text of another version)"
    if not text.strip():
        return f"(only blanks: {text!r})" if text else "(the empty text)"
    shown = "".join(c if c.isprintable() else "␤" if c == "\n" else "·" for c in text[:_BEGINNING])
    return shown + ("…" if len(text) > _BEGINNING else "")


@cache
def _texts() -> dict[str, str]:
    texts = verification_texts()
    return dict(zip(texts.ids, texts.texts, strict=True))


def numbered(names: Sequence[str]) -> list[str]:
    """Returns names of which those that occur several times are numbered."""
    return [
        f"{name} ({names[: place + 1].count(name)})" if names.count(name) > 1 else name
        for place, name in enumerate(names)
    ]
