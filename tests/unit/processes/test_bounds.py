"""The environment lowers bounds, and raises none."""

import pytest

from embconvert.errors import UsageError
from embconvert.processes.bounds import lowered


@pytest.mark.parametrize(("word", "bound"), [("0", 0), ("9", 9), ("10", 10), ("11", 10)])
def test_a_bound_can_be_lowered_only(
    word: str, bound: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lowered("PATIENCE", 10) == 10
    monkeypatch.setenv("EMBCONVERT_PATIENCE", word)
    assert lowered("PATIENCE", 10) == bound
    assert lowered("PATIENCE_S", 10) == 10


@pytest.mark.parametrize("word", ["", "-1", "1.5", "1e3", "٣", "9" * 5000, "much"])
def test_what_is_no_number_is_a_usage_error(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBCONVERT_PATIENCE", word)
    with pytest.raises(UsageError, match=f"EMBCONVERT_PATIENCE is '{word[:9]}") as caught:
        lowered("PATIENCE", 10)
    assert "below 10" in caught.value.hint
    assert len(caught.value.message) < 120
