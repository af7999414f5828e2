"""What a hub may take of time and memory."""

import pytest

from embconvert.errors import NetworkError
from embconvert.hub.limits import Clock, Limits


def test_the_environment_lowers_each_limit_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Limits.of_environment() == Limits()
    monkeypatch.setenv("EMBCONVERT_HUB_PATIENCE_S", "3")
    monkeypatch.setenv("EMBCONVERT_HUB_LISTING_PAGES", "30")
    monkeypatch.setenv("EMBCONVERT_HUB_API_BYTES", str(1 << 40))
    lowered = Limits(patience_s=3, listing_pages=30)
    assert Limits.of_environment() == lowered


def test_an_answer_may_take_some_time_and_longer_by_what_arrives() -> None:
    patient, impatient = Clock(60), Clock(-1)
    patient.add(1)
    impatient.add(20_000)  # two seconds more
    with pytest.raises(NetworkError, match="too slowly"):
        Clock(-1).add(1)
    assert (patient.received, impatient.received) == (1, 20_000)
