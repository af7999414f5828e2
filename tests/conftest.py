"""Fixtures of all tests."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["containers", "faulty_runs"]

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Outcome:
    """What a run of the command line left."""

    code: int
    stdout: str
    stderr: str

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest in the folder that the run printed."""
        text = (Path(self.stdout.strip()) / "embconvert.json").read_text(encoding="utf-8")
        manifest: dict[str, Any] = json.loads(text)
        return manifest

    def graph(self, file: str) -> dict[str, Any]:
        """The manifest's entry of a graph."""
        return next(a for a in self.manifest["artifacts"] if a["path"] == f"onnx/{file}")


def embconvert(
    *arguments: object, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Outcome:
    """Runs the command line in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "embconvert", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "HF_HUB_OFFLINE": "1", **(env or {})},
        timeout=600,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


#: For embconvert(): every graph has external data, as those over 2 GB have; and there is next to no
#: memory, too. See tests/lowered.
LARGE_MODEL = {"PYTHONPATH": f"{ROOT / 'tests' / 'lowered'}:{ROOT}"}
LITTLE_MEMORY = {**LARGE_MODEL, "LITTLE_MEMORY": "1"}


def convert(
    model: Path, parent: Path, *options: object, env: Mapping[str, str] | None = None
) -> Outcome:
    """Runs `embconvert all`, which must do its work."""
    outcome = embconvert(
        "all", "--model_id", model, "--output_parent_dir", parent, *options, env=env
    )
    assert outcome.code == 0, outcome.stderr
    return outcome


def run_published(folder: Path, file: str, output: str, *texts: Sequence[str]) -> Any:
    """What a program without sentence-transformers makes of a folder's graph.

    Args:
        folder: The published one.
        file: The graph, which has this output and no other.
        output: Its name.
        texts: What is read; for pairs, the first ones and the second ones.
    """
    import numpy as np
    import onnxruntime
    from transformers import AutoTokenizer

    session = onnxruntime.InferenceSession(str(folder / file))
    assert [o.name for o in session.get_outputs()] == [output]
    feed = AutoTokenizer.from_pretrained(folder)(
        *map(list, texts), padding=True, truncation=True, return_tensors="np"
    )
    named = {i.name: feed[i.name].astype(np.int64) for i in session.get_inputs()}
    return session.run(None, named)[0]


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The real all-MiniLM-L6-v2, which `make test` puts there."""
    model = Path(sys.prefix) / "demo" / "all-MiniLM-L6-v2"
    assert (model / "model.safetensors").is_file(), "run `make test`, which fetches the model"
    return model


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random BERT with sentence-transformers modules; tests must not change it."""
    import zoo

    return zoo.build_model("bert", tmp_path_factory.mktemp("source") / "tiny-bert")


def files_in(folder: Path) -> dict[str, int]:
    """Every file below a folder, hidden ones too, with its size."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
