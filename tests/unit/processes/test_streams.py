"""Nothing but the result reaches the program's stdout, whatever prints."""

import subprocess
import sys
from pathlib import Path

import pytest

from support.command_line import ROOT

NOISE = ("from Python", "from C", "from a child", "straight to the descriptor")
#: A library that prints in every way; run as a program, it does so where it is told to.
PROGRAM = f"""
import ctypes, os, subprocess, sys

def make_noise():
    print({NOISE[0]!r})
    libc = ctypes.CDLL(None)
    libc.puts({NOISE[1]!r}.encode())
    libc.fflush(None)
    subprocess.run(["echo", {NOISE[2]!r}], check=True)
    os.write(1, {NOISE[3] + chr(10)!r}.encode())
    sys.stdout.flush()

def be_noisy(_):
    make_noise()

def in_a_worker(debug, forked):
    from embconvert.console import Console
    from embconvert.processes.workers import Worker
    from embconvert.processes.zygote import Zygote
    zygote = Zygote(("json",), debug=debug) if forked else None
    with Worker(Console(quiet=False, debug=debug), zygote=zygote) as worker:
        worker.call(be_noisy)
    if zygote:
        zygote.close()
    print("the result")

def in_a_command(debug, fails):
    from embconvert.cli import main, version
    from embconvert.request.records import Finished
    def noisy(request):
        make_noise()
        if fails:
            raise ValueError("oh")
        return Finished(text="the result")
    version.version = noisy
    sys.argv[1:] = ["version", "--json", *["--debug"] * debug]
    main.main()

if __name__ == "__main__":
    where, debug, option = sys.argv[1:]
    globals()[where](debug == "True", option == "True")
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "noisy.py"
    path.write_text(PROGRAM)
    return path


def run(program: Path, where: str, *, debug: bool, option: bool) -> tuple[str, list[str]]:
    """Returns what it printed on stdout, and the noise that is on stderr."""
    done = subprocess.run(
        [sys.executable, program, where, str(debug), str(option)],
        capture_output=True, text=True, check=False, timeout=60,
        env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return done.stdout, [noise for noise in NOISE if noise in done.stderr]


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("forked", [False, True])
def test_a_worker_prints_nothing_to_stdout(program: Path, debug: bool, forked: bool) -> None:
    stdout, shown = run(program, "in_a_worker", debug=debug, option=forked)
    assert stdout == "the result\n"
    assert shown == (list(NOISE) if debug else [])


@pytest.mark.parametrize("debug", [False, True])
def test_a_command_prints_its_result_and_nothing_else(program: Path, debug: bool) -> None:
    stdout, shown = run(program, "in_a_command", debug=debug, option=False)
    assert stdout == "the result\n"
    assert shown == (list(NOISE) if debug else [])


def test_a_command_that_fails_gives_stdout_back(program: Path) -> None:
    stdout, _ = run(program, "in_a_command", debug=False, option=True)
    assert stdout.startswith('{\n  "exit_code": 1')
