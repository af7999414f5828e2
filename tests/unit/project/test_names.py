"""Names of the package."""

import ast
from collections import Counter
from pathlib import Path

PACKAGE = Path(__file__).parents[3] / "embconvert"


def test_no_two_classes_have_the_same_name() -> None:
    """Else a reader who searches for one finds the other."""
    names = Counter(
        node.name
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []
