"""`make bench` writes its figures into the documentation."""

from pathlib import Path

import pytest
from convert import as_table
from measure import Figures
from memory import ROWS, Row
from pages import replace_rows
from pipelines import AUTO, GOALS, PEER, PIPELINES, RERUN, ROOT, VERIFIED
from records import Record, Run
from schedule import TRICKS
from tables import FLEETS, PAGE, as_markdown, write_fleets, write_page

#: Seconds of wall time in the rounds that count.
WALL = {"unverified": 2.0, VERIFIED: 5.0, RERUN: 3.0, AUTO: 9.0, PEER: 10.0}


def record() -> Record:
    runs = [
        Run("minilm", number, name, {"all": figures(WALL[name] + number, sampled=number == 0)})
        for number in (0, 1, 2)
        for name in PIPELINES
    ]
    machine: dict[str, str | float] = {
        "cpu": "CPU",
        "cores": 2,
        "memory_gib": 8,
        "kernel": "Linux",
        "load": 0,
    }
    return Record(machine, {"ours": {"torch": "2"}}, runs, {"minilm": "| job |"})


def figures(wall: float, *, sampled: bool) -> Figures:
    return Figures(
        wall_s=wall, cpu_s=2 * wall, process_bytes=1, others_cpu_s=0.0,
        tree_bytes=int(wall * 1e6) if sampled else None,
    )  # fmt: skip


def test_each_goal_is_a_ratio_of_the_rounds_that_count_and_memory_one_of_the_warm_up() -> None:
    lines = {line.split(" | ")[0]: line for line in as_markdown(record()).splitlines()}
    assert "| 0.5 | 0.56 (0.55 to 0.58) |" in lines["| verified: wall time"]
    assert "| 0.8 | 0.56 (0.55 to 0.58) |" in lines["| verified: processor time"]
    assert "| 0.5 | 0.50 |" in lines["| verified: memory"]
    assert "| 0.25 | 0.39 (0.36 to 0.42) |" in lines["| one more precision, verified: wall time"]
    assert all(f"| {goal.title}" in lines for goal in GOALS)
    assert (
        "| optimum-cli, ONNX Runtime's optimizer, quantize_dynamic | 11.5 s (11.0 to 12.0) |"
        in (as_markdown(record()))
    )


def test_new_figures_replace_the_old_ones_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text())
    write_page(record(), page)
    once = page.read_text()
    write_page(record(), page)
    assert page.read_text() == once
    before, after = PAGE.read_text().split("<!-- make bench -->")[0], "`--debug` prints the times"
    assert once.startswith(before) and after in once
    page.write_text("no place")
    with pytest.raises(ValueError, match="does not have <!-- make bench"):
        write_page(record(), page)


def test_rows_of_a_table_that_are_measured_again_replace_theirs_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# T\n\n| a | 1 GiB | x | 5 s |\n| a | 1 GiB | y | 6 s |\n\nend\n")
    replace_rows(page, ["| a | 1 GiB | y | 7 s |"], named_by=3)
    assert page.read_text() == "# T\n\n| a | 1 GiB | x | 5 s |\n| a | 1 GiB | y | 7 s |\n\nend\n"
    with pytest.raises(ValueError, match="has no row"):
        replace_rows(page, ["| a | 1 GiB | z | 7 s |"], named_by=3)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.shape)
def test_the_page_about_memory_has_the_rows_that_are_measured(row: Row, tmp_path: Path) -> None:
    page = tmp_path / "memory.md"
    page.write_text((ROOT / "docs/memory.md").read_text())
    for tool in ("embconvert", "copy"):
        replace_rows(page, [f"| {row.shape} | {row.limit_gib:g} GiB | {tool} | new |"], named_by=3)
    assert page.read_text().count("| new |") == 2


def test_each_trick_has_a_row_in_the_page_about_them() -> None:
    page = (ROOT / "docs/schedule.md").read_text()
    assert "<!-- make bench-schedule -->" in page
    for trick in TRICKS.values():
        assert trick.module in page


def test_what_a_fleet_takes_follows(tmp_path: Path) -> None:
    page = tmp_path / "fleets.md"
    page.write_text(FLEETS.read_text())
    write_fleets(record(), page)
    text = page.read_text()
    assert "takes 13.0 s of CPU time with verification" in text
    assert "of that size take 36 core-hours, 54 minutes for 20 pods with 2 cores each" in text


def test_the_jobs_are_those_that_debug_prints() -> None:
    output = (
        "1/2 load\ntimes of the jobs\n         \n job        started at   took  processor time \n"
        " ────────\n load the source model  0.0 s  1.5 s  1.1 s \n verify a  1.5 s  0.5 s  0.4 s \n"
        "          \nmeasuring the speed\n"
    )
    assert as_table(output).splitlines() == [
        "| job | started at | took | processor time |",
        "|---|---:|---:|---:|",
        "| load the source model | 0.0 s | 1.5 s | 1.1 s |",
        "| verify a | 1.5 s | 0.5 s | 0.4 s |",
    ]
