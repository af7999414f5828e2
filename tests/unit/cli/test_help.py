"""The help teaches by examples, in lines that fit."""

import itertools
import re

import pytest

from embconvert.cli.commands import COMMANDS
from embconvert.cli.help import help_for
from embconvert.cli.topics import TOPICS
from embconvert.errors import UsageError
from embconvert.request.options import Group


def text_of(*words: str, width: int = 80) -> str:
    text = help_for(words, width)
    assert text is not None
    return text


@pytest.mark.parametrize("words", [["all"], [], ["helpful"], ["--helpful"]])
def test_a_command_line_that_asks_for_no_help_gets_none(words: list[str]) -> None:
    assert help_for(words) is None


@pytest.mark.parametrize("words", [["help"], ["--help"], ["-h"], ["help", "--debug"]])
def test_the_overview_names_every_command_and_topic(words: list[str]) -> None:
    text = text_of(*words)
    assert all(f"  {name} " in text for name in COMMANDS)
    assert all(name in text for name in TOPICS)
    assert text.index("examples:") < text.index("usage:") < text.index("commands:")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_help_has_its_examples_first_and_each_option_in_its_group(name: str) -> None:
    text = text_of(name, "--help")
    assert text == text_of("help", name)
    places = [text.index("examples:"), text.index("usage:")]
    used = [g for g in Group if any(o.group is g for o in COMMANDS[name].options.values())]
    places += [text.index(f"\n{group}:\n") for group in used]
    assert places == sorted(places)
    for group, following in itertools.pairwise([*used, None]):
        section = text[text.index(f"\n{group}:\n") :]
        if following is not None:
            section = section[: section.index(f"\n{following}:\n")]
        for option in COMMANDS[name].options.values():
            is_here = bool(re.search(rf"^  --{option.name}( [A-Z]+)?$", section, re.MULTILINE))
            assert is_here == (option.group is group)


def test_an_option_says_its_default_or_that_it_is_required() -> None:
    text = text_of("all", "--help")
    assert "Required." in text
    assert "Default: hub." in text
    assert "Default: required" not in text


@pytest.mark.parametrize("width", [40, 60, 100])
@pytest.mark.parametrize("words", [["help"], *(["help", name] for name in [*COMMANDS, *TOPICS])])
def test_lines_fit_the_terminal_except_for_what_is_to_be_copied(
    words: list[str], width: int
) -> None:
    for line in text_of(*words, width=width).splitlines():
        copied = line.startswith(("  embconvert ", "usage: ")) or len(line.split()) == 1
        assert copied or len(line) <= width, line


def test_a_wide_terminal_gets_lines_that_can_still_be_read() -> None:
    assert text_of("help", "layouts", width=300) == text_of("help", "layouts", width=100)


@pytest.mark.parametrize("name", TOPICS)
def test_a_topic_has_no_marks_of_the_documentation(name: str) -> None:
    text = text_of("help", name)
    # A page of the documentation does not come with the program.
    assert [mark for mark in ("`", "](", "**", ".md") if mark in text] == []
    for row in TOPICS[name]().rows:
        assert f"\n  {row[0].strip('`')}\n" in text


def test_a_mistyped_topic_is_a_usage_error_that_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="topic 'precision' is unknown") as caught:
        help_for(["help", "precision"])
    assert "did you mean precisions?" in caught.value.hint
