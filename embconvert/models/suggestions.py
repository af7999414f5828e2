"""What a user may have meant by an unknown word."""

import difflib
from collections.abc import Iterable

from embconvert.errors import UsageError


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Returns the known word most similar to `word`, or None if none is close."""
    by_lowercase = {k.lower(): k for k in known}
    if word.lower() in by_lowercase:
        return by_lowercase[word.lower()]
    # A short word matches a long one that contains it: int8 -> QInt8.
    containing = [k for low, k in by_lowercase.items() if len(word) > 2 and word.lower() in low]
    if containing:
        return min(containing, key=len)
    matches = difflib.get_close_matches(word.lower(), by_lowercase, n=1, cutoff=0.6)
    return by_lowercase[matches[0]] if matches else None


def unknown_value(what: str, value: str, known: Iterable[str]) -> UsageError:
    """Returns the error for a value outside a closed set; its hint suggests the nearest one."""
    known = list(known)
    suggestion = nearest(value, known)
    choices = f"{what} can be {', '.join(known)}"
    if not value:
        return UsageError(f"{what} has an empty value", choices)
    hint = f"did you mean {suggestion}? {choices}" if suggestion else choices
    return UsageError(f"{what} {value!r} is unknown", hint)
