"""The README and the options agree."""

import re
from pathlib import Path

from embconvert.options import OPTIONS

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `--(\w+)( [A-Z]+)?` \| ([^|]+) \| ([^|]+) \| ([^|]*) \|$", re.MULTILINE)


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


def test_no_file_names_a_registry_host() -> None:
    root = Path(__file__).parents[2]
    hosts = ("pypi" + ".org", "pythonhosted" + ".org", "download.pytorch" + ".org")
    for pattern in ("requirements/*", "*.md", "Makefile", "pyproject.toml", ".ci/*"):
        for file in root.glob(pattern):
            text = file.read_text(encoding="utf-8")
            assert not [host for host in hosts if host in text], file
