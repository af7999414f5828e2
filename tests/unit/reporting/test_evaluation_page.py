"""The page and the table of evaluations."""

import re
from dataclasses import replace

import pytest

from embconvert.evaluation.records import Evaluations
from embconvert.reporting.evaluation_page import evaluation_page
from embconvert.reporting.evaluation_table import evaluation_rows, header_of
from support.evaluation import evaluation
from support.html_page import Page


def test_the_newest_evaluation_is_first_with_its_plot() -> None:
    old, new = evaluation("1" * 64), evaluation("1" * 64, "2" * 64, digest="b" * 64)
    new = replace(new, data=replace(new.data, name="my <b>newest</b> data"))
    page = evaluation_page(Evaluations(evaluations=(old, new)))
    text = Page(page).text
    assert text.index("my <b>newest</b> data") < text.index("my data")
    assert "0.8 points lower" in text
    assert "Retrieval: 300 queries, 1,000 documents" in text
    assert page.count("<svg") == 1  # a baseline alone has no loss to draw
    assert "Loss of nDCG@10. graph1 0.80, 0.40 to 1.60" in page


def test_evaluations_on_data_of_one_name_have_headings_of_their_own() -> None:
    one, other = evaluation("1" * 64), evaluation("1" * 64, digest="b" * 64)
    text = Page(evaluation_page(Evaluations(evaluations=(one, other)))).text
    assert text.index("my data (1)") < text.index("my data (2)")


def test_a_file_that_has_changed_since_an_older_evaluation_is_marked() -> None:
    old, new = evaluation("1" * 64, "2" * 64), evaluation("1" * 64, "3" * 64, digest="b" * 64)
    assert (
        Page(evaluation_page(Evaluations(evaluations=(old, new)))).text.count("earlier file") == 1
    )
    assert "earlier file" not in evaluation_page(Evaluations(evaluations=(old, old)))


@pytest.mark.parametrize(
    ("loss", "labels"),
    [
        (0.0, ["-0.005", "0", "0.005"]),
        (0.8, ["0", "0.5", "1", "1.5"]),
        (-3.0, ["-1.5", "-1", "-0.5", "0"]),
    ],
)
def test_a_plot_of_losses_has_a_few_round_numbers(loss: float, labels: list[str]) -> None:
    plot = evaluation_page(Evaluations(evaluations=(evaluation("1" * 64, "2" * 64, loss=loss),)))
    assert re.findall(r"<text[^>]*>(-?[\d.]+)</text>", plot) == labels


def test_it_links_to_the_report_beside_it() -> None:
    found = Evaluations(evaluations=(evaluation("1" * 64),))
    assert "report.html" not in evaluation_page(found)
    assert '<a href="report.html">' in evaluation_page(found, has_report=True)


def test_a_page_without_evaluations_is_no_error() -> None:
    assert "<h1></h1>" in evaluation_page(Evaluations(evaluations=()))


def test_the_table_has_the_loss_of_each_graph() -> None:
    found = evaluation("1" * 64, "2" * 64)
    assert [column.title for column in header_of(found)] == [
        "file", "size", "nDCG@10", "loss in points", "95% interval", "verdict",
    ]  # fmt: skip
    assert evaluation_rows(found) == [
        ["onnx/graph0.onnx", "0.0 MB", "0.7500", "-", "-", "baseline"],
        ["onnx/graph1.onnx", "0.0 MB", "0.7420", "0.80", "0.40 to 1.60", "0.8 points lower"],
    ]


def test_a_loss_that_rounds_to_0_has_no_sign() -> None:
    found = evaluation("1" * 64, "2" * 64, loss=-0.004)
    baseline, other = found.graphs
    figure = replace(other.main, low=-0.006, high=0.0001)
    found = replace(found, graphs=(baseline, replace(other, figures=(figure,))))
    assert evaluation_rows(found)[1][3:5] == ["0.00", "-0.01 to 0.00"]
    page = evaluation_page(Evaluations(evaluations=(found,)))
    assert "loss 0.00<br> (-0.01 to 0.00)" in page
    assert "graph1 0.00, -0.01 to 0.00" in page
