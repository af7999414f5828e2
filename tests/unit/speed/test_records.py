"""What a measured ratio of speeds tells in spite of noise."""

import pytest
from pydantic import ValidationError

from embconvert.models.json_records import adapter, as_json
from embconvert.speed.records import SpeedsRecord, Speedup, Verdict
from support.examples import speeds

FASTER, SLOWER, AS_FAST, UNKNOWN = Verdict


@pytest.mark.parametrize(
    ("times", "spread", "verdict"),
    [
        (1.2, 0.1, FASTER),
        (1.001, 0.0, FASTER),
        (1.25, 0.25, UNKNOWN),  # as fast, or half as fast again
        (2.26, 5.65, UNKNOWN),
        (0.97, 0.41, UNKNOWN),
        (0.98, 0.01, SLOWER),
        (0.5, 0.49, SLOWER),
        (0.5, 0.5, UNKNOWN),
        (0.98, 0.05, AS_FAST),
        (1.0, 0.0, AS_FAST),
        (1.05, 0.05, AS_FAST),
        (1.05, 0.06, UNKNOWN),  # may be 11% faster
        (0.96, 0.05, AS_FAST),
        (0.95, 0.06, UNKNOWN),  # may be 11% slower
    ],
)
def test_noise_is_told_from_difference(times: float, spread: float, verdict: Verdict) -> None:
    found = Speedup(times=times, spread=spread)
    assert found.verdict is verdict
    assert (str(found) == "not measurable") is (verdict is UNKNOWN)
    assert as_json(found) == {"times": times, "spread": spread, "verdict": verdict.value}


@pytest.mark.parametrize(
    ("limit", "verdict"), [(1.5, FASTER), (1.95, AS_FAST), (2.2, SLOWER), (2.5, SLOWER)]
)
def test_any_number_of_times_may_be_the_limit(limit: float, verdict: Verdict) -> None:
    assert Speedup(times=2.0, spread=0.1).against(limit) is verdict


def test_a_wide_spread_does_not_tell_on_which_side_of_a_limit_a_speed_is() -> None:
    found = Speedup(times=3.0, spread=1.6)
    assert found.verdict is FASTER
    assert found.against(1.5) is UNKNOWN


def test_a_verdict_that_contradicts_its_figures_is_refused() -> None:
    reader = adapter(Speedup)
    assert reader.validate_python({"times": 2.0, "spread": 0.1}).verdict is FASTER
    with pytest.raises(ValidationError, match="verdict"):
        reader.validate_python({"times": 2.0, "spread": 5.0, "verdict": "faster"})


def test_speeds_that_noise_hides_are_named_with_what_to_do() -> None:
    found: SpeedsRecord = speeds(model=None, quick=2.0, small=(2.26, 5.65), half=(0.97, 0.41))
    words = found.unmeasurable_words
    assert words is not None
    assert "onnx/small.onnx, onnx/half.onnx relative to float32 is not measurable" in words
    assert "embconvert bench" in words
    assert speeds(model=None, quick=2.0, same=(0.98, 0.05)).unmeasurable_words is None
