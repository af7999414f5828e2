"""Importing transformers without what a conversion never uses changes nothing that it knows."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration

_EXPORTS = """
import json, sys
from embconvert.processes.light_imports import import_all
if sys.argv[1] == "light":
    import_all(["sentence_transformers"])
import transformers, transformers.models
packages = (transformers, transformers.models)
print(json.dumps([sorted(package._class_to_module) for package in packages]))
"""


def exports(how: str) -> list[list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", _EXPORTS, how], capture_output=True, text=True, check=True
    )
    names: list[list[str]] = json.loads(done.stdout)
    return names


def test_transformers_exports_the_same_names() -> None:
    light, plain = exports("light"), exports("plain")
    assert len(plain[0]) > 1000
    assert light == plain
