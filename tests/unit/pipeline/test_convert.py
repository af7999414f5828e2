"""What a run imports before its first process has started."""

import subprocess
import sys


def imported_with(module: str) -> set[str]:
    """The modules that a new interpreter has after an import."""
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_what_runs_in_workers_is_not_imported_before_the_sources_process_starts() -> None:
    imported = imported_with("embconvert.pipeline.convert")
    assert "embconvert.pipeline.convert" in imported
    assert not imported & {"embconvert.pipeline.tasks", "embconvert.pipeline.run", "onnx", "torch"}


def test_almost_nothing_is_imported_before_the_first_process_starts() -> None:
    imported = imported_with("embconvert.pipeline.start")
    assert "embconvert.pipeline.early_process" in imported
    assert not imported & {"embconvert.pipeline.convert", "embconvert.hub", "numpy", "pydantic"}
