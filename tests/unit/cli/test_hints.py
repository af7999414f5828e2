"""Hints name options that exist, and say which commands have them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import embconvert
from embconvert.cli.commands import COMMANDS
from embconvert.cli.hints import hint_with_commands
from embconvert.request.fleet_options import ENTRY_OPTIONS

PACKAGE = Path(embconvert.__file__).parent
OPTIONS = {name for spec in COMMANDS.values() for name in spec.options} | {*ENTRY_OPTIONS, "help"}


def errors() -> Iterator[tuple[str, str]]:
    """The place of each error in the package's source, and its words."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Error"):
                words = [
                    part.value
                    for part in ast.walk(node)
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                ]
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", " ".join(words)


def test_errors_name_only_options_that_exist() -> None:
    found = list(errors())
    assert len(found) > 300
    unknown = {
        place: option
        for place, words in found
        for option in re.findall(r"(?<![\w-])--([a-z]\w+)", words)
        if option not in OPTIONS
    }
    assert not unknown


def test_an_option_of_other_commands_is_said_to_be_theirs() -> None:
    hint = "try another precision, or --optimize 0"
    assert hint_with_commands(hint, COMMANDS["all"]) == hint
    assert hint_with_commands(hint, COMMANDS["quantize"]) == (
        f"{hint} (--optimize is an option of: optimize, all)"
    )
    whole = "run: embconvert all --optimize 0"
    assert hint_with_commands(whole, COMMANDS["quantize"]) == whole
