"""Names of the package."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[3] / "embconvert"


def classes_and_aliases(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """Yields the names of classes and of aliases such as `Sizes = tuple[int, ...]`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield node.name, True
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name) and re.fullmatch("_?[A-Z][a-z]+.*", target.id):
                    yield target.id, False


def test_no_class_has_the_name_of_another_or_of_an_alias() -> None:
    """Otherwise a reader who searches for one finds the other."""
    found: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    for path in PACKAGE.rglob("*.py"):
        for name, is_class in classes_and_aliases(ast.parse(path.read_text(encoding="utf-8"))):
            place = path.relative_to(PACKAGE).as_posix()
            found[name.lstrip("_")].append((place, is_class))
    assert found
    doubles = {
        name: sorted(place for place, _ in places)
        for name, places in found.items()
        if len(places) > 1 and any(is_class for _, is_class in places)
    }
    assert not doubles
