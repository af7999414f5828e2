"""A program that uses the API notices nothing of a conversion but its result."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from embconvert import Progress, convert, verify
from embconvert.errors import FidelityError, SourceError
from embconvert.models.json_records import as_json
from support.documents import DOCS
from support.evaluation import beir
from support.hub_server import HubServer
from support.workers import is_alive

pytestmark = pytest.mark.integration

#: A script without `if __name__ == "__main__"`, with torch imported and an event loop running.
SCRIPT = """
import asyncio, logging, os, signal, sys, threading, warnings
import torch
from embconvert import convert

def state():
    return (
        dict(os.environ), [signal.getsignal(n) for n in signal.valid_signals()],
        signal.pthread_sigmask(signal.SIG_BLOCK, []), logging.getLogger().handlers[:],
        warnings.filters[:], sys.path[:], sys.argv[:], sys.stdout, sys.stderr, os.getcwd(),
        torch.get_num_threads(), torch.is_grad_enabled(), torch.random.get_rng_state().tolist(),
        threading.active_count(), os.umask(0o22), sys.modules["__main__"],
        os.listdir("/proc/self/fd"), open("/proc/self/task/%d/children" % os.getpid()).read(),
    )

async def main():
    await asyncio.to_thread(int)  # starts the thread that the conversion will run in
    before = state()
    ticks = 0
    def told(progress):
        assert threading.current_thread() is not threading.main_thread()
    work = asyncio.create_task(asyncio.to_thread(
        convert, sys.argv[1], output_parent_dir=sys.argv[2], quantize=["QInt8"], min_cosine=0.5,
        progress=told,
    ))
    while not work.done():
        await asyncio.sleep(0.05)
        ticks += 1
    made = await work
    assert ticks > 5, ticks
    for number, (old, new) in enumerate(zip(before, state())):
        assert old == new, (number, old, new)
    print(made.folder)

asyncio.run(main())
"""


def test_a_conversion_in_a_thread_changes_nothing_in_its_program(
    tiny_bert: Path, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), str(tiny_bert), str(tmp_path / "models")],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    folder = tmp_path / "models" / tiny_bert.name
    assert (done.stdout, done.stderr) == (f"{folder}\n", "")
    assert (folder / "onnx/model_opt1_QInt8.onnx").is_file()


def test_a_result_is_the_folder_and_a_check_finds_what_changed(
    tiny_bert: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told: list[Progress] = []
    made = convert(tiny_bert, output_parent_dir=tmp_path, optimize=0, progress=told.append)
    written = json.loads((made.folder / "embconvert.json").read_text())
    assert as_json(made.manifest) == written
    assert "2/5 trace onnx/model.onnx" in [progress.message for progress in told]
    totals = {p.total for p in told if p.message == "verifying onnx/model.onnx"}
    assert len(totals) == 1

    # A bad floor is refused as on the command line, and so is a changed file.
    with pytest.raises(FidelityError, match="mean cosine"):
        convert(tiny_bert, output_parent_dir=tmp_path, optimize=0, quantize="QInt8", min_cosine=1.0)
    with (made.folder / "onnx/model.onnx").open("ab") as file:
        file.write(b"0")
    with pytest.raises(SourceError, match=r"damaged: onnx/model\.onnx"):
        verify(made.folder)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("how", ["callback", "ctrl-c"])
def test_a_conversion_can_be_stopped_and_leaves_nothing(
    how: str, tiny_bert: Path, tmp_path: Path
) -> None:
    class EnoughError(Exception):
        pass

    def stop(progress: Progress) -> None:
        if "trace" not in progress.message:
            return
        if how == "callback":
            raise EnoughError
        os.kill(os.getpid(), signal.SIGINT)

    others = children()  # of other tests in this process, such as a fork server
    # Where the tests run in the background, Ctrl-C is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(EnoughError if how == "callback" else KeyboardInterrupt):
            convert(tiny_bert, output_parent_dir=tmp_path, progress=stop)
    finally:
        signal.signal(signal.SIGINT, before)
    assert list(tmp_path.iterdir()) == []
    assert not [pid for pid in children() if pid not in others and is_alive(pid)]


def test_the_samples_of_the_documentation_run(tiny_bert: Path, tmp_path: Path) -> None:
    text = (DOCS / "python.md").read_text(encoding="utf-8")
    samples = "".join(re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    # A tiny random model loses more than real ones, or less.
    code = samples.replace('quantize=["QInt8"]', 'quantize=["QInt8"], min_cosine=0.5')
    code = code.replace('quantize="QInt8", min_cosine=0.99', 'quantize="QInt8", min_cosine=1.0')
    beir(tmp_path / "my-search", {"d1": "a text"}, {"q1": "a query"}, [("q1", "d1", 1)])
    with HubServer() as hub:
        hub.add_model("intfloat/e5-small-v2", tiny_bert)
        env = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "home")}
        done = subprocess.run(
            [sys.executable, "-"], input=code, cwd=tmp_path, env={**os.environ, **env},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
    assert done.stderr == ""
    folder = tmp_path / "models/intfloat/e5-small-v2"
    assert done.stdout.splitlines()[0] == str(folder)
    assert re.search(r"^onnx/model_opt1_QInt8\.onnx 0\.\d+$", done.stdout, re.MULTILINE)
    assert "onnx/model.onnx 1.0 the same\n" in done.stdout
    assert "onnx/model_opt1_QInt8.onnx is not published: mean cosine" in done.stdout


def children() -> list[int]:
    text = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text()
    return [int(pid) for pid in text.split()]
