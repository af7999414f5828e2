"""The README and the options agree."""

import re
from pathlib import Path

import pytest

from embconvert.cli.commands import COMMANDS
from embconvert.models.choices import Command
from embconvert.request.options import OPTIONS

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `--(\w+)( [A-Z]+)?` \| ([^|]+) \| ([^|]+) \| ([^|]*) \|$", re.MULTILINE)
#: The same for a command that doesn't convert; its table has no column of commands.
SHORT_ROW = re.compile(r"^\| `--(\w+)( [A-Z]+)?` \| ([^|]+) \| ([^|]*) \|$", re.MULTILINE)


def test_the_readme_documents_every_option_as_the_help_does() -> None:
    rows = [tuple(part.strip() for part in match) for match in ROW.findall(README)]
    assert rows == [
        (
            option.name,
            option.metavar or "",
            "all four" if len(option.commands) == 4 else ", ".join(option.commands),
            option.help,
            option.default,
        )
        for option in OPTIONS
    ]


@pytest.mark.parametrize("name", [n for n in COMMANDS if n not in set(Command)])
def test_the_readme_documents_every_other_command_as_the_help_does(name: str) -> None:
    spec = COMMANDS[name]
    metavar = f" {spec.operands.metavar}" if spec.operands else ""
    dots = "..." if spec.operands and spec.operands.several else ""
    _, found, section = README.partition(f"\n### `embconvert {name}{metavar}{dots}`\n")
    assert found, f"the README has no section for embconvert {name}{metavar}{dots}"
    section = re.split(r"^#", section, maxsplit=1, flags=re.MULTILINE)[0]
    assert spec.summary in section
    if spec.operands:
        assert spec.operands.help in section
    rows = [tuple(part.strip() for part in match) for match in SHORT_ROW.findall(section)]
    assert rows == [
        (option.name, option.metavar or "", option.help, option.default)
        for option in spec.options.values()
    ]


def test_no_file_names_a_registry_host() -> None:
    root = Path(__file__).parents[2]
    hosts = ("pypi" + ".org", "pythonhosted" + ".org", "download.pytorch" + ".org")
    for pattern in ("requirements/**/*.*", "*.md", "Makefile", "pyproject.toml", ".ci/*"):
        for file in root.glob(pattern):
            text = file.read_text(encoding="utf-8")
            assert not [host for host in hosts if host in text], file
