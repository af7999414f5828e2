"""The traced run at the head of CONTRIBUTING.md is what happens."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from embconvert.processes.resources import cpus

ROOT = Path(__file__).parents[2]
LISTED = re.findall(
    r"^\d+\. `([\w.:]+)`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE
)

#: Notes every function of the package at its first call, and every task that a worker is given.
TRACER = """
import os, sys
called = {}
def note(frame, event, argument):
    module = frame.f_globals.get("__name__", "")
    if event == "call" and module.startswith("embconvert"):
        name = f"{module.removeprefix('embconvert.')}:{frame.f_code.co_qualname}"
        called.setdefault(name)
        if name == "processes.worker:Worker.begin":
            task = frame.f_locals["task"]
            called.setdefault(f"{task.__module__.removeprefix('embconvert.')}:{task.__qualname__}")
leave = os._exit
def end(code):
    sys.setprofile(None)
    with open(os.environ["TRACE"], "w") as stream:
        stream.write(chr(10).join(called))
    leave(code)
# A worker imports this file, and is not traced.
if __name__ == "__main__":
    os._exit = end
    sys.setprofile(note)
    from embconvert.__main__ import main
    main()
"""


@pytest.mark.integration
@pytest.mark.skipif(cpus() < 2, reason="a single CPU does one job after the other")
def test_a_run_passes_the_listed_functions_in_their_order(tiny_bert: Path, tmp_path: Path) -> None:
    (tmp_path / "tracer.py").write_text(TRACER)
    subprocess.run(
        [
            sys.executable, tmp_path / "tracer.py", "all", "--model_id", tiny_bert,
            "--quantize", "QInt8", "--output_parent_dir", tmp_path / "out", "--quiet",
        ],
        check=True,
        env={**os.environ, "TRACE": str(tmp_path / "trace"), "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    called = (tmp_path / "trace").read_text().split("\n")
    assert [name for name in called if name in LISTED] == LISTED


def test_the_list_is_short() -> None:
    assert 15 <= len(LISTED) <= 25
