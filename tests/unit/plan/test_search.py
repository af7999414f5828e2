"""Which quantization is best under a budget."""

from pathlib import Path

import pytest

from embconvert.errors import UsageError
from embconvert.plan.search import Search, name_of
from support.plans import plan

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
    assert "only useful with --min_speedup" in found.ruled_out["QInt8Static"]
    assert "only replaces Q8" in found.ruled_out["QFLOAT8E4M3FN"]
    fast = search("--min_speedup 1.5")
    assert "QInt8Static" in {str(c.precision) for c in fast.candidates}
    # What a release cannot run needs a stand-in.
    served = search("--min_onnxruntime 1.22")
    assert "QFLOAT8E4M3FN" in {str(c.precision) for c in served.candidates}


def test_another_budget_is_another_file() -> None:
    keys = {
        tuple(c.key("source", {}) for c in search(options).candidates)
        for options in ("", "--min_cosine 0.9", "--max_size 30%", "--min_speedup 2")
    }
    assert len(keys) == 4


def test_a_candidate_is_named_by_what_is_not_as_usual() -> None:
    names = [name_of(c.precision, c.options.recipes) for c in search().candidates]
    assert names == [
        "Q4 without mixed", "Q4", "QInt8", "QInt8 with split", "Q8", "Float16",
    ]  # fmt: skip


def test_a_route_alone_cannot_be_evaluated(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("a\n")
    with pytest.raises(UsageError, match="routes of queries and documents at once"):
        search(f"--route query --evaluate {tmp_path / 'texts.txt'}")
