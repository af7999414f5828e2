"""Importing transformers without what a conversion never uses changes nothing that it knows."""

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from embconvert.source.loading import compiling_patterns_when_used

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


def test_weights_former_names_are_those_that_transformers_knows() -> None:
    from transformers import conversion_mapping

    plain = conversion_mapping._build_checkpoint_conversion_mapping()
    with compiling_patterns_when_used():
        lazy = conversion_mapping._build_checkpoint_conversion_mapping()

    def patterns(mapping: dict[str, list[Any]]) -> dict[str, list[str]]:
        return {
            name: [transform.compiled_sources.pattern for transform in transforms]
            for name, transforms in mapping.items()
        }

    assert len(plain) > 100
    assert patterns(lazy) == patterns(plain)
    assert not isinstance(lazy["timm_wrapper"][0].compiled_sources, re.Pattern)
