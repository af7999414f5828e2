"""`import embconvert` is light, and any program can call it."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import embconvert
from embconvert.errors import UsageError

#: Ends early, after the child process has started.
CALL = """
from embconvert import convert
from embconvert.errors import UsageError
print("begun", flush=True)
try:
    convert("./missing-model")
except UsageError as error:
    print("refused", error.exit_code)
"""


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys, embconvert; print([m for m in sys.modules if m.startswith('embconvert.')])"
    assert run("-c", code) == "[]"


def test_importing_the_functions_imports_no_library_of_models() -> None:
    code = (
        "import sys; from embconvert import convert, verify; "
        "print({'torch', 'onnx', 'onnxruntime', 'transformers', 'numpy.f2py'} & set(sys.modules))"
    )
    assert run("-c", code) == "set()"


def test_every_name_of_the_api_is_there() -> None:
    assert all(hasattr(embconvert, name) for name in embconvert.__all__)
    assert set(embconvert.__all__) <= set(dir(embconvert))
    with pytest.raises(AttributeError, match="no attribute 'konvert'"):
        embconvert.konvert  # noqa: B018


@pytest.mark.parametrize("kind", ["script", "command", "stdin", "thread", "daemon"])
def test_any_program_can_call_it_and_runs_once(kind: str, tmp_path: Path) -> None:
    code = CALL
    if kind in ("thread", "daemon"):
        module, process = {
            "thread": ("threading", "threading.Thread"),
            # multiprocessing refuses children of its daemonic processes.
            "daemon": ("multiprocessing", "multiprocessing.get_context('fork').Process"),
        }[kind]
        call = textwrap.indent(CALL, "    ")
        code = f"import {module}\ndef call():{call}\np = {process}(target=call, daemon=True)\n"
        code += "p.start()\np.join()\n"
    script = tmp_path / "script.py"
    script.write_text(code)
    words = {"command": ["-c", code], "stdin": ["-"]}.get(kind, [str(script)])
    assert run(*words, cwd=tmp_path, text=code) == "begun\nrefused 2"


def test_a_wrong_model_is_the_same_error_as_on_the_command_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError):
        embconvert.convert(tmp_path / "missing", output_parent_dir=tmp_path)
    assert capfd.readouterr() == ("", "")


def run(*words: str, cwd: Path | None = None, text: str = "") -> str:
    """Returns what a Python program printed, which printed nothing on stderr."""
    done = subprocess.run(
        [sys.executable, *words],
        input=text, cwd=cwd, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.strip()
