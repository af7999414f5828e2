"""docs/quality.md has a place for each part that `make bench-quality` measures."""

import re

import outliers
import pytest
from pipelines import MODEL
from quality import BLOCKS, PAGE, RECIPES, with_part


@pytest.mark.parametrize("name", [MODEL.name, RECIPES, BLOCKS, *outliers.SHAPES])
def test_a_part_replaces_its_own_tables_only(name: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    once = with_part(page, name, "| new |")
    assert once.count("| new |") == 1
    assert with_part(once, name, "| newer |") == once.replace("| new |", "| newer |")
    before, after = (text.split(f"<!-- measured: {name} -->") for text in (page, once))
    assert before[0] == after[0]
    assert before[1].split("<!-- end: ", 1)[1] == after[1].split("<!-- end: ", 1)[1]


def test_a_model_without_a_place_is_told() -> None:
    with pytest.raises(ValueError, match="no place for unknown"):
        with_part(PAGE.read_text(encoding="utf-8"), "unknown", "| new |")


def test_the_command_that_repeats_a_table_stands_beside_it() -> None:
    """Those that `make bench-quality` writes, and those that it does not."""
    page = PAGE.read_text(encoding="utf-8")
    parts = re.findall(r"<!-- measured: (\S+) -->(.*?)<!-- end: ", page, re.DOTALL)
    without = re.sub(r"<!-- measured: .*?<!-- end: ", "", page, flags=re.DOTALL)
    for name, text in parts:
        assert f"`make bench-quality PART={name}" in text
    for section in without.split("\n## "):
        assert "\n| " not in section or "`make bench-" in section
