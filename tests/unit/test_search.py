"""Which quantization is best under a budget."""

from dataclasses import replace

import pytest
from examples import fidelity
from test_plan import plan

from embconvert.errors import UsageError
from embconvert.fidelity.figures import Fidelity
from embconvert.fidelity.floors import Floor
from embconvert.plan.search import Budget, Candidate, Search, frontier_rows, name_of
from embconvert.request.values import size

MB = 10**6


def search(options: str = "") -> Search:
    found = plan(f"all --model_id m --quantize auto {options}").search
    assert found is not None
    return found


def test_the_smallest_is_tried_first_and_nothing_is_refused_while_trying() -> None:
    candidates = search().candidates
    sizes = [c.file_bytes(10**6) for c in candidates]
    assert sizes == sorted(sizes)
    assert {c.source for c in candidates} == {"onnx/model_opt1.onnx"}
    assert all(c.floor is not None and c.floor.mean_cosine == -1.0 for c in candidates)
    assert [str(s.precision) for s in plan("all --model_id m --quantize auto").steps] == [
        "Float32", "Float32",
    ]  # fmt: skip


def test_what_the_oldest_runtime_cannot_run_is_ruled_out_and_said() -> None:
    found = search("--min_onnxruntime 1.20")
    tried = [str(c.precision) for c in found.candidates]
    assert tried == ["QInt8", "QInt8", "QFLOAT8E4M3FN", "Float16"]
    assert set(found.ruled_out) == {"Q4", "Q8", "QInt8Static"}
    assert "1.23" in found.ruled_out["Q8"]


def test_what_could_not_be_the_best_is_not_tried_and_said() -> None:
    found = search()
    assert [str(c.precision) for c in found.candidates] == [
        "Q4", "Q4", "QInt8", "QInt8", "Q8", "Float16",
    ]  # fmt: skip
    assert "no --min_speedup asks" in found.ruled_out["QInt8Static"]
    assert "stands in for Q8" in found.ruled_out["QFLOAT8E4M3FN"]
    fast = search("--min_speedup 1.5")
    assert "QInt8Static" in {str(c.precision) for c in fast.candidates}
    # What a layout's program cannot run needs a stand-in, too.
    served = search("--layout tei")
    assert "QFLOAT8E4M3FN" in {str(c.precision) for c in served.candidates}


def test_another_budget_is_another_file() -> None:
    keys = {
        tuple(c.key("source", {}) for c in search(options).candidates)
        for options in ("", "--min_cosine 0.9", "--max_size 30%", "--min_speedup 2")
    }
    assert len(keys) == 4


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("25MB", 25 * MB), ("1.5GB", 1500 * MB), ("900kB", 900_000), ("30%", 27 * MB), ("10", 10)],
)
def test_a_size_is_bytes_or_a_share_of_float32(text: str, size_bytes: int) -> None:
    assert size(text).in_bytes(90 * MB) == size_bytes


@pytest.mark.parametrize("text", ["", "big", "-3MB", "0", "130%", "nan", "infGB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no size"):
        size(text)


def near(mean: float) -> Fidelity:
    figures = fidelity(1e-3, bin_number=3)
    return replace(figures, similarity=replace(figures.similarity, mean=mean, min=0.99))


@pytest.mark.parametrize(
    ("mean", "size_bytes", "speedup", "problem"),
    [
        (0.995, 20 * MB, 2.0, None),
        (0.98, 20 * MB, 2.0, "mean cosine 0.98000 is below 0.99"),
        (0.995, 31 * MB, 2.0, "larger than 30.0 MB"),
        (0.995, 20 * MB, 1.2, "1.20 times as fast, not 1.5"),
        (0.995, 20 * MB, None, "no float32 graph"),
    ],
)
def test_a_file_must_keep_the_whole_budget(
    mean: float, size_bytes: int, speedup: float | None, problem: str | None
) -> None:
    budget = Budget(floor=Floor(mean_cosine=0.99), max_size=size("30%"), min_speedup=1.5)
    found = budget.violation(size_bytes, near(mean), speedup, 100 * MB)
    assert (found is None) if problem is None else (found is not None and problem in found)


def test_the_frontier_says_what_dominates_what() -> None:
    close, far = near(0.999), near(0.98)
    candidates = [
        Candidate(name="A", size_bytes=30 * MB, fidelity=far, speedup=1.0, outcome="too far"),
        Candidate(name="B", size_bytes=25 * MB, fidelity=close, speedup=2.0),
        Candidate(name="C", outcome="not tried: it would be larger"),
    ]
    rows = {row[0]: row for row in frontier_rows(candidates, 100 * MB)}
    assert rows["A"][-1] == "too far; dominated by B"
    assert rows["B"][1:] == ["25.0 MB", "25%", "0.99900", "0.99000", "2.00x", "published"]
    assert rows["C"][1:-1] == ["-"] * 5


def test_a_candidate_is_named_by_what_is_not_as_usual() -> None:
    names = [name_of(c.precision, c.options.recipes) for c in search().candidates]
    assert names == [
        "Q4 without mixed", "Q4", "QInt8", "QInt8 with split without smooth", "Q8", "Float16",
    ]  # fmt: skip
