"""What the file that `--quantize auto` chooses must meet."""

from dataclasses import replace
from pathlib import Path

import pytest

from embconvert.fidelity.figures import Fidelity
from embconvert.fidelity.floors import Floor
from embconvert.models.choices import Precision
from embconvert.models.kinds import Kind
from embconvert.plan.budget import Budget, DataLoss
from embconvert.request.own_values import size
from embconvert.speed.records import Speedup
from support.examples import fidelity
from support.plans import plan

MB = 10**6


def budget_of(options: str) -> Budget:
    found = plan(f"all --model_id m --quantize auto {options}").search
    assert found is not None
    return found.budget


def times(factor: float | None) -> Speedup | None:
    return None if factor is None else Speedup(times=factor, spread=0.05)


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
        (0.995, 20 * MB, None, "its speed was not compared"),
    ],
)
def test_a_file_must_keep_the_whole_budget(
    mean: float, size_bytes: int, speedup: float | None, problem: str | None
) -> None:
    budget = Budget(floor=Floor(mean_cosine=0.99), max_size=size("30%"), min_speedup=1.5)
    found = budget.violation(size_bytes, near(mean), times(speedup), 100 * MB, Precision.QINT8)
    assert (found is None) if problem is None else (found is not None and problem in found)


@pytest.mark.parametrize("figures", [(2.26, 5.65), (1.6, 0.4), (1.4, 0.4)])
def test_a_speed_that_noise_hides_does_not_meet_a_budget(figures: tuple[float, float]) -> None:
    found = Speedup(times=figures[0], spread=figures[1])
    problem = Budget(floor=Floor(mean_cosine=0.9), min_speedup=1.5).violation(
        1, near(0.995), found, 2, Precision.QINT8
    )
    assert problem is not None
    assert problem.startswith("not known to be 1.5 times as fast: ")
    assert found.figures in problem


def test_a_speed_at_the_limit_meets_it_by_its_median() -> None:
    budget = Budget(floor=Floor(mean_cosine=0.9), min_speedup=1.5)
    problems = [
        budget.violation(
            1, near(0.995), Speedup(times=t, spread=0.05), 2, Precision.QINT8
        )
        for t in (1.5, 1.49)
    ]  # fmt: skip
    assert problems == [None, "1.49 times as fast, not 1.5"]


def test_a_file_must_keep_the_ranking_as_without_auto() -> None:
    floor = Floor(mean_cosine=0.9)
    lost = replace(near(0.9999), rank_correlation=0.548)
    budget = Budget(floor=floor)
    problem = budget.violation(1, lost, None, 2, Precision.QINT8)
    assert problem == "rank correlation 0.54800 is below 0.95"
    assert budget.floors(Precision.QINT8)[1].rank_correlation == 0.95
    accepting = Budget(floor=floor, min_neighbours=0.9)
    assert accepting.violation(1, lost, None, 2, Precision.QINT8) is None
    assert "90.0% of the nearest neighbours" in str(accepting)


def test_every_head_must_keep_the_budget() -> None:
    budget = Budget(floor=Floor(mean_cosine=0.99))
    figures = replace(near(0.995), heads={Kind.LATE_INTERACTION: near(0.98)})
    found = budget.violation(1, figures, None, 2, Precision.QINT8)
    assert found == "late-interaction head: mean cosine 0.98000 is below 0.99"


def test_a_loss_on_the_users_data_has_a_limit_of_its_own(tmp_path: Path) -> None:
    data = tmp_path / "texts.txt"
    data.write_text("a\nb\n")
    budget = budget_of(f"--evaluate {data} --max_loss 0.4")
    assert str(budget).endswith("at most 0.4 points lost on texts.txt")
    little = DataLoss(figure="nDCG@10", points=0.4, verdict="within noise")
    much = replace(little, points=0.41, verdict="0.4 points lower")
    assert budget.excess(little) is None
    assert budget.excess(replace(little, points=-3.0)) is None
    assert budget.excess(much) == (
        "0.41 points of nDCG@10 lost (0.4 points lower), not at most 0.4"
    )
    data.write_text("a\nc\n")
    assert budget_of(f"--evaluate {data} --max_loss 0.4").as_text() != budget.as_text()
