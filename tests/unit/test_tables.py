"""Tables on terminals of every width: no figure is cut."""

import io
from pathlib import Path

import pytest

from embconvert.console import Console
from embconvert.fleet.summary import TABLE_HEADER
from embconvert.models.kinds import Measure
from embconvert.plan.frontier import frontier_header
from embconvert.reporting.table import table_header, table_rows
from embconvert.tables import Column, print_table
from support.examples import published

CLOSING = table_header(Measure.COSINE)
SEARCH = frontier_header(Measure.COSINE)
TRIED = [
    ["QInt8 with split without smooth", "14.6 MB", "16%", "0.98691", "0.96129", "0.93x",
     "mean cosine 0.98691 is below 0.995; dominated by QInt8"],
    ["Float16", "-", "-", "-", "-", "-", "not tried: it would not be smaller"],
]  # fmt: skip
FLEET = [["org/" + "long-name-" * 4, "up to date", "120 s", "4", "203.5 MB", "0.99713"]]


def printed(columns: tuple[Column, ...], rows: list[list[str]], width: int) -> str:
    from rich.console import Console as RichConsole

    stream = io.StringIO()
    print_table(RichConsole(file=stream, width=width, markup=False), columns, rows)
    return stream.getvalue()


@pytest.fixture
def closing(tmp_path: Path) -> list[list[str]]:
    manifest = published(tmp_path)
    return table_rows(manifest)


@pytest.mark.parametrize("width", [30, 60, 80, 100, 160])
def test_a_figure_is_whole_or_its_column_is_named_as_left_out(
    closing: list[list[str]], width: int
) -> None:
    for columns, rows in ((CLOSING, closing), (SEARCH, TRIED), (TABLE_HEADER, FLEET)):
        text = printed(columns, rows, width)
        assert "…" not in text
        words = text.split()
        _, _, left_out = text.partition("a wider terminal also shows: ")
        for number, column in enumerate(columns):
            cells = [word for row in rows for word in row[number].split()]
            if column.title in left_out.strip().split(", "):
                assert column.rank > 0
            else:
                assert number == 0 or set(column.title.split()) <= set(words)
                assert all(words.count(cell) >= cells.count(cell) for cell in cells)


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_no_line_of_a_table_is_wider_than_the_terminal(
    closing: list[list[str]], width: int
) -> None:
    for columns, rows in ((CLOSING, closing), (SEARCH, TRIED)):
        table = printed(columns, rows, width).partition("a wider terminal")[0]
        assert max(map(len, table.splitlines())) <= width


def test_the_wider_the_terminal_the_more_is_shown(closing: list[list[str]]) -> None:
    narrow, usual, wide = (printed(CLOSING, closing, width) for width in (70, 90, 140))
    assert "also shows" not in wide
    assert "also shows: rank corr., batch cosine, texts/s at 16/64/128 tokens\n" in usual
    assert "also shows: min cosine, top 10 kept, rank corr., batch cosine, texts/s at" in narrow


def test_where_no_table_fits_each_row_is_a_list_of_all_its_figures(
    closing: list[list[str]],
) -> None:
    lines = printed(CLOSING, closing, 30).splitlines()
    assert lines[0] == "onnx/model.onnx"
    assert lines[1].split() == ["size", "0.1", "MB"]
    assert len(lines) == len(closing) * len(CLOSING)


def test_what_is_redirected_has_all_columns_in_one_line_each(
    closing: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [["onnx/" + "x" * 300, *row[1:]] for row in closing]
    Console(quiet=False, debug=False).table("title", CLOSING, rows)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "title"
    for row in rows:
        assert any(line.split() == " ".join(row).split() for line in lines)


def test_names_stand_on_the_left_and_figures_on_the_right() -> None:
    columns = (Column(title="m"), Column(title="file", is_word=True), Column(title="size"))
    text = printed(columns, [["a", "long", "1"], ["b", "s", "22"]], 60)
    first, second = [line for line in text.split("\n") if line.strip()][-2:]
    assert (first.split(), second.split()) == (["a", "long", "1"], ["b", "s", "22"])
    assert first.index("long") == second.index("s")
    assert first.index("1") == second.index("22") + 1
