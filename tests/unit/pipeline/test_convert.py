"""What a run does before its source's process has started."""

import subprocess
import sys


def test_what_runs_in_workers_is_not_imported_before_the_sources_process_starts() -> None:
    code = "import sys, embconvert.pipeline.convert as c; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    assert "embconvert.pipeline.convert" in imported
    assert not imported & {"embconvert.pipeline.tasks", "embconvert.pipeline.run", "onnx", "torch"}


def test_almost_nothing_is_imported_before_the_first_process_starts() -> None:
    code = "import sys, embconvert.pipeline.start; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    assert "embconvert.pipeline.early_process" in imported
    assert not imported & {"embconvert.pipeline.convert", "embconvert.hub", "numpy", "pydantic"}
