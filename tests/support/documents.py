"""The documents, and the programs that generate parts of them."""

import importlib.util
import json
import re
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

from support.command_line import ROOT

README = ROOT / "README.md"
DOCS = ROOT / "docs"
DATA = ROOT / "embconvert" / "data"
#: What is written for users.
PAGES = (README, *sorted(DOCS.rglob("*.md")))


def generator(name: str) -> ModuleType:
    """Returns a program of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def schema(name: str) -> Any:
    """Returns a JSON Schema of the package's data, such as `manifest`."""
    return json.loads((DATA / f"{name}.schema.json").read_text(encoding="utf-8"))


def shell_commands(page: Path, *programs: str) -> list[list[str]]:
    """Returns the commands of a page's shell blocks that run one of the programs, as words."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    words = [shlex.split(line, comments=True) for line in lines]
    return [command for command in words if command and command[0] in programs]


def table_commands(page: Path) -> list[list[str]]:
    """Returns the command lines of embconvert in a page's tables, as words."""
    text = page.read_text(encoding="utf-8")
    return [shlex.split(line) for line in re.findall(r"\| `(embconvert [^`]+)` \|", text)]
