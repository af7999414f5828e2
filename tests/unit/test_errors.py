"""Errors that end a run."""

import pytest

from embconvert.errors import SeveralErrors, UsageError, reason_of


def test_several_errors_are_one_usage_error() -> None:
    parts = [UsageError("a", "b"), UsageError("c", "d")]
    error = SeveralErrors(parts)
    assert (error.exit_code, list(error.parts)) == (2, parts)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("a\nb", "a"),
        ("in Dense:\n\tno key: x\nmore", "in Dense: no key: x"),
        ("in Dense:", "in Dense:"),
        (" ", "ValueError"),
        (f"a:\n{'b' * 1000}", f"a: {'b' * 297}"),
    ],
)
def test_a_reason_is_a_line_with_what_it_announces(said: str, reason: str) -> None:
    assert reason_of(ValueError(said)) == reason
