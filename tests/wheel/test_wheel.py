"""The wheel that `make dist` built, in an environment that has embconvert from nowhere else.

The environment takes the other packages from that of the tests: torch is large.
"""

import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from embconvert import __version__
from support.command_line import ROOT


@pytest.fixture(scope="module")
def wheel() -> Path:
    (found,) = (ROOT / "build/dist").glob("*.whl")
    assert found.name == f"embconvert-{__version__}-py3-none-any.whl"
    return found


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder with the programs of an environment with the wheel."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    programs = folder / "bin"
    packages = Path(output(programs / "python", "-c", PACKAGES).strip())
    # A path in a .pth file is searched, but its own .pth files, such as that of the checkout, are
    # not read.
    (packages / "others.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    pip("install", "--quiet", "--no-deps", "--no-index", str(wheel), environment=programs)
    return programs


PACKAGES = "import sysconfig; print(sysconfig.get_paths()['purelib'])"


def pip(*words: str, environment: Path) -> str:
    python = str(environment / "python")
    return output(Path(sys.executable), "-m", "pip", "--python", python, *words)


def output(program: Path, *words: str, cwd: Path | None = None) -> str:
    """Returns what a program printed; without PYTHONPATH, which may name the checkout."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [program, *words], cwd=cwd or "/", env={**env, "HF_HUB_OFFLINE": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_has_every_file_of_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("embconvert/")}
    files = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "embconvert").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == files


def test_its_metadata_says_what_an_index_shows(environment: Path) -> None:
    code = (
        "from importlib import metadata as m; print(*m.metadata('embconvert').items(), sep='\\n')"
    )
    text = output(environment / "python", "-c", code)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for field in {
        "Name": "embconvert",
        "Version": __version__,
        "Summary": project["description"],
        "License-Expression": "Apache-2.0",
        "License-File": "LICENSE",
        "Requires-Python": project["requires-python"],
        "Description-Content-Type": "text/markdown",
        "Requires-Dist": "torch==2.13.0",
        "Classifier": "Typing :: Typed",
    }.items():
        assert f"{field}\n" in text


def test_the_locked_packages_are_what_it_requires(environment: Path) -> None:
    assert pip("check", environment=environment) == "No broken requirements found.\n"


def test_the_demo_runs_from_it(environment: Path, minilm: Path, tmp_path: Path) -> None:
    where = output(environment / "python", "-c", "import embconvert; print(embconvert.__file__)")
    assert Path(where).is_relative_to(environment.parent)
    words = ["all", "--model_id", str(minilm), "--quantize", "QInt8"]
    folder = tmp_path / output(environment / "embconvert", *words, cwd=tmp_path).strip()
    assert (folder / "onnx/model_opt1_QInt8.onnx").is_file()
    assert "<html" in (folder / "report.html").read_text(encoding="utf-8")
    code = f"from embconvert import verify; print(*verify({str(folder)!r}).figures)"
    figures = output(environment / "python", "-c", code)
    assert "onnx/model_opt1_QInt8.onnx" in figures.split()
