"""The command line in a process of its own, and what it left."""

import atexit
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from support.fork_client import ForkServer

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Outcome:
    """What a run of the command line left."""

    code: int
    stdout: str
    stderr: str

    @property
    def folder(self) -> Path:
        """The folder that the run printed."""
        return Path(self.stdout.strip())

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest in that folder."""
        text = (self.folder / "embconvert.json").read_text(encoding="utf-8")
        manifest: dict[str, Any] = json.loads(text)
        return manifest

    def graph(self, file: str) -> dict[str, Any]:
        """The manifest's entry of a graph."""
        return next(a for a in self.manifest["artifacts"] if a["path"] == f"onnx/{file}")


#: Set by pytest and by us; the environment of a run is otherwise that of the fork server.
_PER_RUN = ("EMBCONVERT_", "PYTEST_")
#: Set by embconvert itself, or by imports of torch and scikit-learn, which the fork server has. A
#: test that imports them first has these variables only while it runs.
_NOT_COMPARED = (*_PER_RUN, "OMP_", "MKL_", "OPENBLAS_", "KMP_", "TORCHINDUCTOR_")


class Forks:
    """A fork server for runs with its own environment, started by the first one.

    Args:
        env: Added to this process's environment.
    """

    def __init__(self, env: Mapping[str, str] = MappingProxyType({})) -> None:
        self._env = env
        self._server: ForkServer | None = None
        self._environment: dict[str, str] = {}
        self._alone = threading.Lock()

    def embconvert(self, *arguments: object, cwd: Path | None = None) -> Outcome:
        """Runs the command line."""
        outcome = self.try_to_run(arguments, cwd, {})
        assert outcome is not None, "another run is not over, or this environment changed"
        return outcome

    def try_to_run(
        self, words: Sequence[object], cwd: Path | None, env: Mapping[str, str]
    ) -> Outcome | None:
        """Runs a command line; None if the run needs a process from scratch."""
        if not all(name.startswith(_PER_RUN) for name in env):
            return None  # libraries read other variables when they are imported
        if not self._alone.acquire(blocking=False):
            return None
        try:
            if self._server is None:
                self._environment = _environment()
                self._server = ForkServer(env=self._env)
                atexit.register(self._server.close)
            if _environment() != self._environment:
                return None
            ours = {name: os.environ[name] for name in os.environ if name.startswith(_PER_RUN)}
            with tempfile.TemporaryDirectory() as folder:
                stdout, stderr = Path(folder, "stdout"), Path(folder, "stderr")
                code = self._server.run(
                    words, stdout=stdout, stderr=stderr, cwd=cwd, env={**ours, **env}
                )
                return Outcome(code, stdout.read_text("utf-8"), stderr.read_text("utf-8"))
        finally:
            self._alone.release()


def _environment() -> dict[str, str]:
    """Returns the variables that make a difference."""
    return {k: v for k, v in os.environ.items() if not k.startswith(_NOT_COMPARED)}


_forks = Forks()


def embconvert(
    *arguments: object, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Outcome:
    """Runs the command line in a process of its own.

    It is forked from one that has the libraries imported, where that makes no difference: imports
    are more than half of a tiny model's conversion.
    """
    return _forks.try_to_run(arguments, cwd, env or {}) or embconvert_from_scratch(
        *arguments, cwd=cwd, env=env
    )


def embconvert_from_scratch(
    *arguments: object, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Outcome:
    """Runs the command line in a new process, as a shell does."""
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
#: memory, too.
LARGE_MODEL = {"EMBCONVERT_EXTERNAL_DATA_BYTES": "0"}
LITTLE_MEMORY = {**LARGE_MODEL, "EMBCONVERT_MEMORY_BYTES": str(1 << 20)}


def convert(
    model: Path, parent: Path, *options: object, env: Mapping[str, str] | None = None
) -> Outcome:
    """Runs `embconvert all`, which must do its work."""
    outcome = embconvert(
        "all", "--model_id", model, "--output_parent_dir", parent, *options, env=env
    )
    assert outcome.code == 0, outcome.stderr
    return outcome


def wait_for(process: "subprocess.Popen[str]", word: str) -> None:
    """Reads a run's stderr until a line has this word."""
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if word in line:
            return
    raise AssertionError(f"the run never said {word!r}: {said}")


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


def files_in(folder: Path) -> dict[str, int]:
    """Every file below a folder, hidden ones too, with its size."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
