"""The fork server's client; see fork_server.py."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


class ForkServer:
    """Runs command lines, one at a time, without importing libraries for each.

    Args:
        env: Added to this process's environment for all runs.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("fork_server.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1", **env},
        )
        self._answer()

    @property
    def pid(self) -> int:
        return self._server.pid

    def _answer(self) -> str:
        assert self._server.stdout is not None
        answer = self._server.stdout.readline()
        assert answer, "the fork server ended"
        return answer

    def run(
        self,
        words: Sequence[object],
        *,
        stdout: Path,
        stderr: Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        fault: Mapping[str, object] | None = None,
        **more: object,
    ) -> int:
        """Runs a command line; returns its exit status, negative for a signal.

        Args:
            words: The command line.
            stdout: The file that it writes to, and `stderr`.
            env: Added to the run's environment.
            fault: See faulty_runs.Runner.run(), as for what else is given.
        """
        job = {
            "words": list(map(str, words)),
            "stdout": str(stdout),
            "stderr": str(stderr),
            "cwd": str(cwd or Path.cwd()),
            "env": dict(env or {}),
            "fault": fault,
            **more,
        }
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        return int(self._answer())

    def close(self) -> None:
        """Ends the server."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(30)
