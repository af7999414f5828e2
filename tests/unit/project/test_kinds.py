"""A kind of model is one line, and one file in each room that treats kinds differently."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from embconvert.fidelity.comparison import comparison_for
from embconvert.manifest.kinds import NOT_LOADED
from embconvert.models.kinds import Kind, class_of, part_of
from embconvert.reporting.kind_words import KindWords
from embconvert.source.kinds import class_for
from support.command_line import ROOT

PACKAGE = ROOT / "embconvert"
ROOMS = sorted(path.parent for path in PACKAGE.glob("*/kinds"))
#: What the files of all kinds share.
SHARED = {"__init__", "base", "rules"}


def test_each_of_these_rooms_has_a_file_for_each_kind_and_no_other() -> None:
    assert [room.name for room in ROOMS] == [
        "evaluation", "fidelity", "manifest", "models", "reporting", "source",
    ]  # fmt: skip
    for room in ROOMS:
        files = {path.stem for path in (room / "kinds").glob("*.py")} - SHARED
        assert files == {kind.name.lower() for kind in Kind}, room.name


@pytest.mark.parametrize("kind", Kind)
def test_each_file_has_its_part_and_says_its_own_kind(kind: Kind) -> None:
    assert comparison_for(kind)
    assert class_for(kind).kind is kind
    assert NOT_LOADED[kind].kind is kind
    assert part_of(kind, "embconvert.reporting.kinds", "WORDS", KindWords)
    makers = part_of(kind, "embconvert.reporting.kinds", "SNIPPET_MAKERS", tuple)
    assert makers
    assert all(map(callable, makers))


def test_a_part_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match=r"reporting\.kinds\.sparse\.WORDS is not a str"):
        part_of(Kind.SPARSE, "embconvert.reporting.kinds", "WORDS", str)
    with pytest.raises(TypeError, match=r"source\.kinds\.sparse\.SOURCE is not a class of int"):
        class_of(Kind.SPARSE, "embconvert.source.kinds", "SOURCE", int)


def test_no_other_file_names_a_kind() -> None:
    """Except the kind of models that do not declare one."""
    found = {
        f"{path.relative_to(PACKAGE).as_posix()}: {ast.unparse(node)}"
        for path in PACKAGE.rglob("*.py")
        if path.parent.name != "kinds"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and ast.unparse(node.value) == "Kind"
        and node.attr in Kind.__members__
        and node.attr != Kind.EMBEDDING.name
    }
    assert not found


_ASK = """
import json
from embconvert.fidelity.comparison import comparison_for
from embconvert.manifest.kinds import NOT_LOADED
from embconvert.manifest import Manifest
from embconvert.models.json_records import adapter
from embconvert.models.kinds import KINDS, TASKS, Kind
from embconvert.reporting.kind_words import snippet_makers
from embconvert.source.kinds import class_for

kind = Kind("fifth")
print(json.dumps({
    "task": TASKS["fifth-task"],
    "words": KINDS[kind].words,
    "source": class_for(kind).kind,
    "record": NOT_LOADED[kind].kind,
    "comparison": comparison_for(kind) is not comparison_for(Kind.SPARSE),
    "snippets": len(snippet_makers(kind)),
    "in schema": "FifthRecord" in adapter(Manifest).json_schema()["$defs"],
}))
"""


def test_another_kind_is_one_line_and_a_file_in_each_room(tmp_path: Path) -> None:
    package = tmp_path / "embconvert"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    for room in ROOMS:
        text = (room / "kinds" / "sparse.py").read_text(encoding="utf-8")
        text = text.replace("Kind.SPARSE", "Kind.FIFTH").replace("SparseRecord", "FifthRecord")
        text = text.replace('"fill-mask", "masked-lm"', '"fifth-task",')
        text = text.replace("a sparse model (SPLADE)", "a fifth kind").replace(
            "embconvert.manifest.kinds.sparse", "embconvert.manifest.kinds.fifth"
        )
        (package / room.name / "kinds" / "fifth.py").write_text(text, encoding="utf-8")
    table = package / "models" / "kinds" / "__init__.py"
    line = '    SPARSE = "sparse"\n'
    text = table.read_text(encoding="utf-8")
    assert line in text
    table.write_text(text.replace(line, f'{line}    FIFTH = "fifth"\n'), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", _ASK], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "task": "fifth", "words": "a fifth kind", "source": "fifth", "record": "fifth",
        "comparison": True, "snippets": 6, "in schema": True,
    }  # fmt: skip
