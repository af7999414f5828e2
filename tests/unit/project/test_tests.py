"""Tests mirror the package, and share helpers, not tests."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command_line import ROOT

TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
UNIT = ROOT / "tests" / "unit"
NAMES = {path.stem for path in TESTS} | {"conftest"}
MIRRORS = [path for path in TESTS if path.is_relative_to(UNIT) and path.parent.name != "project"]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", MIRRORS, ids=name)
def test_a_unit_test_names_the_module_that_it_tests(path: Path) -> None:
    room = ROOT / "embconvert" / path.parent.relative_to(UNIT)
    module = room / path.name.removeprefix("test_")
    if module.stem == room.name:
        module = room / "__init__.py"
    assert module.is_file(), f"{name(path)} tests {name(module)}, which does not exist"


@pytest.mark.parametrize("path", TESTS, ids=name)
def test_no_test_module_imports_another_or_a_conftest(path: Path) -> None:
    imported: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative"
            imported |= {f"{node.module}.{alias.name}" for alias in node.names}
    assert not NAMES & {part for module in imported for part in module.split(".")}


def test_helpers_live_in_support() -> None:
    others = {path for path in (ROOT / "tests").rglob("*.py") if path not in TESTS}
    programs = ROOT / "tests" / "consumers" / "clients"
    assert {
        name(path)
        for path in others
        if not path.is_relative_to(ROOT / "tests" / "support") and not path.is_relative_to(programs)
    } == {"tests/conftest.py"}


def insides(tree: ast.AST) -> Iterator[str]:
    """Yields what a test imports or replaces of our modules that is no part of their interface."""
    modules: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("embconvert"):
            for alias in node.names:
                path = ROOT.joinpath(*f"{node.module}.{alias.name}".split("."))
                if path.is_dir() or path.with_suffix(".py").is_file():
                    modules.add(alias.asname or alias.name)
                elif is_private(alias.name):
                    yield alias.name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            changed = isinstance(node.ctx, ast.Store) or is_private(node.attr)
            of_ours = isinstance(node.value, ast.Name) and node.value.id in modules
            if node.attr in ("__kwdefaults__", "__defaults__") or (of_ours and changed):
                yield ast.unparse(node)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".setattr"):
            place = ast.unparse(node.args[0]).strip("'")
            if place in modules or place.startswith("embconvert."):
                yield place


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def test_what_is_inside_of_our_modules_is_left_alone() -> None:
    """A test that replaces a name tests nothing once the name is another; tests inject instead."""
    found = {
        f"{name(path)}: {what}"
        for path in (ROOT / "tests").rglob("*.py")
        for what in insides(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert not found
