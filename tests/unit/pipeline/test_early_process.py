"""Which process a run starts before it is prepared."""

from pathlib import Path
from typing import Any

import pytest

from embconvert.models.choices import Command
from embconvert.pipeline.early_process import start_early
from embconvert.request.records import Request


class Prepared:
    """Notes what is prepared."""

    def __init__(self) -> None:
        self.processes: list[str] = []

    def prepare_for_source(self) -> None:
        self.processes.append("source")

    def prepare(self) -> None:
        self.processes.append("graphs")


@pytest.mark.parametrize(
    ("command", "is_there", "started"),
    [
        (Command.ALL, False, "source"),
        (Command.EXPORT, False, "source"),
        (Command.ALL, True, "graphs"),
        (Command.QUANTIZE, True, "graphs"),
        (Command.QUANTIZE, False, "graphs"),
    ],
)
def test_only_a_new_folder_certainly_needs_the_source(
    command: Command, is_there: bool, started: str, tmp_path: Path
) -> None:
    if is_there:
        (tmp_path / "org/model").mkdir(parents=True)
    workers: Any = Prepared()
    start_early(Request(command=command, model_id="org/model", output_parent_dir=tmp_path), workers)
    assert workers.processes == [started]
