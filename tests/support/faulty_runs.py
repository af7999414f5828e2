"""Runs that are ended at a chosen moment."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.fork_client import ForkServer

#: A user without files.
NOBODY = 54321


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[None]:
    """Mounts a file system in memory, with options such as `size=1m`; needs root."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@dataclass(frozen=True)
class Run:
    """What a run left: its exit status (negative for a signal), its words, its events."""

    code: int
    stdout: str
    stderr: str
    events: list[str]

    @property
    def manifest(self) -> Any:
        """What was printed with --json."""
        return json.loads(self.stdout)

    @property
    def errors(self) -> list[str]:
        """The lines that say what is wrong."""
        return [line for line in self.stderr.splitlines() if line.startswith("error: ")]


class Runner:
    """Runs command lines in a fork server, with or without a fault."""

    def __init__(self, scratch: Path, environment: Mapping[str, str] | None = None) -> None:
        self._scratch = scratch
        self._server = ForkServer(env=environment or {})

    @property
    def pid(self) -> int:
        """The fork server's, whose limits all runs inherit."""
        return self._server.pid

    def run(
        self,
        parent: Path,
        *words: object,
        left: int | None = None,
        act: str = "SIGKILL",
        whom: str = "main",
        can_swap: bool = True,
        user: int | None = None,
        clock_jumps: bool = False,
        processes: int | None = None,
    ) -> Run:
        """Runs a command line.

        Args:
            parent: The output folder's parent, where events count.
            words: The command line.
            left: How many events happen before the act; None for no act.
            act: What happens then; see events.py.
            whom: Gets a signal: "main", or "self" for the worker that the event happens in.
            can_swap: Whether the file system can swap two folders.
            user: Whose process it is, without a home; None for this one's.
            clock_jumps: Whether the wall clock jumps back and forth.
            processes: How many the user may have, threads counted; root's are not limited.
        """
        files = {name: self._scratch / name for name in ("stdout", "stderr", "log")}
        files["log"].unlink(missing_ok=True)
        code = self._server.run(
            words,
            stdout=files["stdout"],
            stderr=files["stderr"],
            log=str(files["log"]),
            parent=str(parent),
            fault={"left": left, "act": act, "whom": whom},
            can_swap=can_swap,
            user=user,
            clock_jumps=clock_jumps,
            processes=processes,
        )
        said, events = files["stderr"].read_text(), files["log"].read_text().splitlines()
        return Run(code, files["stdout"].read_text(), said, events)

    def close(self) -> None:
        """Ends the server."""
        self._server.close()


@pytest.fixture(scope="session")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    made = Runner(tmp_path_factory.mktemp("runner"))
    yield made
    made.close()


@pytest.fixture
def everybodys() -> Iterator[Path]:
    """A folder that every user reaches; pytest's own are root's."""
    folder = Path(tempfile.mkdtemp(prefix="embconvert-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)
