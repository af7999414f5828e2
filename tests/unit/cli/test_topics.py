"""The topics of the help have every row of the tables that they explain."""

import re

import pytest

from embconvert.cli.topic import Topic
from embconvert.cli.topics import TOPICS
from embconvert.errors import EmbconvertError
from embconvert.models.choices import Layout, OptimizationLevel, Precision
from embconvert.models.kinds import TASKS, Kind, Measure
from embconvert.models.recipes import DEFAULT_RECIPES, RECIPES, Recipe
from embconvert.reporting.table import table_header


def names(topic: Topic) -> list[str]:
    return [row[0].strip("`") for row in topic.rows]


def cell(topic: Topic, name: str, column: str) -> str:
    return topic.rows[names(topic).index(name)][topic.columns.index(column)]


@pytest.mark.parametrize("name", TOPICS)
def test_every_row_has_a_cell_for_each_column_and_no_name_is_twice(name: str) -> None:
    topic = TOPICS[name]()
    assert {len(row) for row in topic.rows} == {len(topic.columns)}
    assert len(set(names(topic))) == len(topic.rows)
    assert topic.introduction.endswith(".")
    assert not [row for row in topic.rows if "|" in "".join(row)], "would break the page's table"


def test_every_choice_is_explained() -> None:
    assert set(names(TOPICS["precisions"]())) == set(Precision)
    assert set(names(TOPICS["recipes"]())) == set(Recipe)
    assert set(names(TOPICS["levels"]())) == {str(int(level)) for level in OptimizationLevel}
    assert set(names(TOPICS["layouts"]())) == set(Layout)
    assert set(names(TOPICS["kinds"]())) == set(Kind)


def test_every_column_of_the_result_table_is_explained() -> None:
    columns = {column.title for measure in Measure for column in table_header(measure)}
    assert set(names(TOPICS["figures"]())) == columns


def test_every_error_has_an_exit_code_that_is_explained() -> None:
    codes = names(TOPICS["exit-codes"]())

    def classes(base: type[EmbconvertError]) -> list[type[EmbconvertError]]:
        return [base, *(found for child in base.__subclasses__() for found in classes(child))]

    assert {str(error.exit_code) for error in classes(EmbconvertError)} == set(codes) - {
        "0", "128 + N"
    }  # fmt: skip


def test_a_recipe_names_the_precisions_that_it_is_for_and_where_it_is_on() -> None:
    topic = TOPICS["recipes"]()
    for recipe in Recipe:
        shown = re.findall(r"(\w+)( \(default\))?", cell(topic, recipe, "for"))
        assert {precision for precision, _ in shown} == {
            p for p, recipes in RECIPES.items() if recipe in recipes
        }
        assert {precision for precision, default in shown if default} == {
            p for p, recipes in DEFAULT_RECIPES.items() if recipe in recipes
        }


def test_a_kind_names_every_task_that_chooses_it() -> None:
    topic = TOPICS["kinds"]()
    for task, kind in TASKS.items():
        assert f"`{task}`" in cell(topic, kind, "`--task`")


def test_figures_are_those_of_the_tables() -> None:
    precisions, layouts = TOPICS["precisions"](), TOPICS["layouts"]()
    assert cell(precisions, "Q8", "minimum mean cosine") == "0.995"
    assert cell(precisions, "Q8", "minimum rank correlation") == "0.98"
    assert cell(precisions, "Q8", "minimum kept neighbours") == "85%"
    assert cell(precisions, "Q8", "needs ONNX Runtime") == "1.23 or newer"
    assert cell(precisions, "QInt8", "needs ONNX Runtime") == ""
    assert cell(layouts, "tei", "ONNX Runtime") == "1.22"
    assert cell(layouts, "fastembed", "ONNX Runtime") == "1.17 or newer"
    assert "`onnx/model_quantized.onnx` (QInt8)" in cell(
        layouts, "transformersjs", "graphs to load"
    )
    assert cell(layouts, "vespa", "also") == "never external data, so at most 2 GB"
