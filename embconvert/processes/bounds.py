"""Bounds that environment variables can lower, for tests.

With them a small model takes the paths of a large one (external data, pieces, a hub that does not
answer) in all processes of a run. No bound can be raised, so the environment cannot weaken a check.
"""

import os

from embconvert.errors import UsageError

#: No bound of embconvert has more digits.
_DIGITS = 18
_SHOWN = 50


def lowered(name: str, bound: int) -> int:
    """Returns a bound, or the whole number in EMBCONVERT_<name> if that is lower."""
    variable = f"EMBCONVERT_{name}"
    word = os.environ.get(variable)
    if word is None:
        return bound
    if not (word.isascii() and word.isdigit() and len(word) <= _DIGITS):
        raise UsageError(
            f"{variable} is {word[:_SHOWN]!r}, not a whole number",
            f"set it to a number below {bound}, or unset it",
        )
    return min(bound, int(word))
