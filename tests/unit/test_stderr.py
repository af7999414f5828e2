"""With a log in JSON, each line of stderr is an object, whoever prints it."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from support.command_line import ROOT


def python(code: str, log_format: str = "json") -> str:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True,
        env={**os.environ, "EMBCONVERT_LOG_FORMAT": log_format},
    ).stderr  # fmt: skip


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_messages_have_time_level_and_hint() -> None:
    first, second, third = records(
        python(
            "from embconvert.stderr import clean_stderr; clean_stderr()\n"
            "from embconvert.console import Console; c = Console(quiet=False, debug=False)\n"
            "c.say('1/9 load'); c.warn('low'); c.error('a\\x1b[1m', 'do b')\n"
        )
    )
    assert (first["level"], first["message"]) == ("info", "1/9 load")
    assert first["time"].endswith("+00:00")
    assert (second["level"], second["message"]) == ("warning", "low")
    assert (third["level"], third["message"], third["hint"]) == ("error", "a\\x1b[1m", "do b")


def test_a_table_is_rows_by_heading() -> None:
    (record,) = records(
        python(
            "from embconvert.stderr import clean_stderr; clean_stderr()\n"
            "from embconvert.console import Console; from embconvert.tables import Column\n"
            "c = Console(quiet=False, debug=False)\n"
            "c.table('figures', [Column(title='file'), Column(title='size')], [['a', '1 MB']])\n"
        )
    )
    assert record["message"] == "figures"
    assert record["rows"] == [{"file": "a", "size": "1 MB"}]


def test_what_libraries_print_is_a_record_of_its_own() -> None:
    found = records(
        python(
            "from embconvert.stderr import clean_stderr; clean_stderr(); clean_stderr()\n"
            "import sys, warnings\n"
            "warnings.warn('old')\n"
            "sys.stderr.write('half '); sys.stderr.write('line\\n\\nnext\\n')\n"
        )
    )
    assert {record["level"] for record in found} == {"library"}
    messages = [record["message"] for record in found]
    assert messages[0].endswith("UserWarning: old")
    assert messages[-2:] == ["half line", "next"]


@pytest.mark.parametrize("log_format", ["text", "", "xml"])
def test_any_other_format_is_text(log_format: str) -> None:
    said = python(
        "from embconvert.stderr import clean_stderr; clean_stderr()\n"
        "from embconvert.console import Console\n"
        "Console(quiet=False, debug=False).warn('low')\n",
        log_format,
    )
    assert said == "warning: low\n"


def test_the_format_can_be_chosen_when_stderr_is_clean_already() -> None:
    said = python(
        "from embconvert.stderr import clean_stderr, use_log_format, LogFormat; clean_stderr()\n"
        "import gc, sys\n"
        "use_log_format(LogFormat.JSON); gc.collect(); print('a', file=sys.stderr)\n"
        "use_log_format(LogFormat.TEXT); gc.collect(); print('b', file=sys.stderr)\n",
        "text",
    )
    assert json.loads(said.splitlines()[0])["message"] == "a"
    assert said.splitlines()[1] == "b"


@pytest.mark.parametrize(
    "words",
    [
        ["all", "--log_format", "json"], ["all", "--model_id", "m", "--log-format=JSON", "--nope"],
        ["report", "no-such-folder", "--log_format", "json"],
    ],
)  # fmt: skip
def test_errors_of_the_command_line_are_records(words: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "embconvert", *words],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2 or "report" in words
    for record in records(ended.stderr):
        assert record["level"] == "error"
        assert record["hint"]


def test_an_unknown_format_is_refused() -> None:
    said = python("from embconvert.cli.main import run; run(['version'])", "yaml")
    assert "$EMBCONVERT_LOG_FORMAT is 'yaml'" in said
    assert python("from embconvert.cli.main import run; run(['version'])", "") == ""
