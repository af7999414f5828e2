"""Importing libraries without what a conversion never uses changes nothing that they know."""

import json
import os
import subprocess
import sys
from pathlib import Path

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


_CONVERSION = """
import sys
from pathlib import Path
from embconvert.processes.light_imports import import_all
import_all(["sentence_transformers"])
from embconvert.export.exporter import Exporter, trace
from support.exports import load
source = load(Path(sys.argv[1]))
trace(source, opset=17, exporter=Exporter.TRACE)
source.encode([["a text"]])
models = sys.modules["transformers.models"]
print([name for name in ("sklearn", "scipy", "torch._dynamo") if name in sys.modules], models)
"""


def test_loading_tracing_and_embedding_import_nothing_of_it(tiny_bert: Path) -> None:
    """Watching which positions are read once imported torch's compiler: half a second."""
    path = os.pathsep.join([*sys.path, str(Path(__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", _CONVERSION, str(tiny_bert)],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    # The package of models is still the light one.
    assert done.stdout.splitlines()[-1] == "[] <module 'transformers.models'>"


_STAR = """
from embconvert.processes.light_imports import import_all
import_all(["sentence_transformers"])
from transformers.models import *
print(BertConfig.model_type)
"""


def test_all_names_of_the_package_of_models_can_be_imported() -> None:
    command = [sys.executable, "-c", _STAR]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "bert\n"


_SYMBOLIC = """
import sys
from embconvert.processes.light_imports import import_all
import_all(["onnx_ir"])
import onnx_ir
was_imported = "sympy" in sys.modules
print(was_imported, onnx_ir.SymbolicDim("max(a, 3)") * 2, "sympy" in sys.modules)
"""


def test_onnx_ir_imports_sympy_when_it_computes_with_a_symbolic_size() -> None:
    command = [sys.executable, "-c", _SYMBOLIC]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=1) == ["False", "2*Max(3, a) True\n"]
