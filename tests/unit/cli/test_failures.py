"""A command that fails says so to people, and with --json to programs."""

import json
import signal
import subprocess
import sys
from importlib import metadata, resources
from pathlib import Path
from typing import Any, NoReturn

import jsonschema
import pytest

from embconvert.cli.main import run
from embconvert.errors import Interrupted, NetworkError, SeveralErrors, UsageError
from support.command_line import ROOT

SCHEMA = json.loads(
    resources.files("embconvert").joinpath("data", "error.schema.json").read_text("utf-8")
)


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Makes `embconvert version --json` fail, which lists the installed packages."""

    def fail() -> NoReturn:
        raise error

    monkeypatch.setattr(metadata, "distributions", fail)


def told(capsys: pytest.CaptureFixture[str]) -> Any:
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    jsonschema.validate(found, SCHEMA)
    for problem in found["errors"]:
        assert f"error: {problem['message']}\nhint: {problem['hint']}\n" in captured.err
    return found


@pytest.mark.parametrize(
    "line",
    [
        "all --json",
        "all --model_id m --json --quantize int9",
        "verify /nowhere --json=true",
        "batch /nowhere --json",
        "exprot --json",
    ],
)
def test_a_failure_is_json_where_the_result_would_have_been(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(line.split())
    assert code == 2
    assert told(capsys)["exit_code"] == code


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (NetworkError("the hub is gone", "run it again"), 10, "the hub is gone"),
        (Interrupted(signal.SIGTERM), 143, "interrupted"),
        (ValueError("oh"), 1, "this is a bug in embconvert"),
    ],
)
def test_every_kind_of_failure_has_its_code(
    error: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    failing(monkeypatch, error)
    assert run(["version", "--json"]) == code
    found = told(capsys)
    assert (found["exit_code"], found["errors"][0]["message"]) == (code, message)


def test_of_several_errors_all_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, SeveralErrors([UsageError("one", "a"), UsageError("two", "b")]))
    assert run(["version", "--json"]) == 2
    assert [e["message"] for e in told(capsys)["errors"]] == ["one", "two"]


@pytest.mark.parametrize("words", [["verify", "/nowhere"], ["verify", "/nowhere", "--json=false"]])
def test_without_json_stdout_stays_empty(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    assert capsys.readouterr().out == ""


def test_a_stdout_that_cannot_be_written_is_no_second_failure() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "embconvert", "version", "--json"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False, cwd=ROOT,
        )  # fmt: skip
    assert done.returncode == 9
    assert "cannot be written to stdout" in done.stderr
    assert "Traceback" not in done.stderr
