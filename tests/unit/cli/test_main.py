"""The command line refuses before it works, and its help teaches at once."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embconvert.cli import main as cli
from embconvert.cli.commands import COMMANDS
from embconvert.cli.main import run
from embconvert.errors import UsageError
from embconvert.models.choices import Command, OptimizationLevel, PoolingMode, Precision
from embconvert.request.records import Request
from support.command_line import ROOT


def parse(words: list[str]) -> Request:
    request = cli.parse(words)[1]
    assert isinstance(request, Request)
    return request


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("", f"give one of: {', '.join(COMMANDS)}"),
        ("exprot --model_id m", "did you mean export?"),
        ("convert --model_id m", "did you mean all?"),
        ("report no-such-folder=x", "give a folder published by embconvert"),
        ("all m", "write --model_id m"),
        ("all help", "write: embconvert all --help"),
        ("all --model_id m -o out", "did you mean --output_parent_dir?"),
        ("all --model_id m --hf_token t", "set the environment variable HF_TOKEN"),
        ("./m --quantize QInt8", "write: embconvert all --model_id ./m"),
        ("org/m", "write: embconvert all --model_id org/m"),
        ("--model_id m all", "write the command first"),
        ("all -q --model_id m", "`embconvert all --help` lists the options"),
        ("all -quantize QInt8 --model_id m", "did you mean --quantize?"),
        ("all --quantize QInt8 Q4 --model_id m", "write --quantize QInt8,Q4"),
        ("all --model_id=m --quantize=QInt8, Q4", "write --quantize QInt8,Q4"),
        ("all --model_id my model", "remove it; a value with spaces needs quotes"),
        ("all", "write: embconvert all --model_id"),
        ("all --modelid m", "did you mean --model_id?"),
        ("all --model_id", "write --model_id ID"),
        ("all --model_id m --model_id n", "give it once"),
        ("all --model_id m --quantize qint9", "did you mean QInt8?"),
        ("all --model_id m --quantize bf16", "can be Q8, Q4, Q4F16, QInt8"),
        ("all --model_id m --quantize fp32,int8", "`embconvert all` publishes it, too"),
        ("all --model_id m --quantize QInt8 --quantize Float16", "--quantize QInt8,Float16"),
        (
            "all --model_id m --quantize QInt8,",
            "can be Q8, Q4, Q4F16, QInt8, QUInt8, Float16, QInt8Static, QFLOAT8E4M3FN",
        ),
        ("all --model_id m --optimize 3", "--optimize can be 0, 1, 2, 99"),
        ("all --model_id m --opset 12", "--opset 17"),
        ("all --model_id m --device gpu", "did you mean cuda? --device can be cpu, cuda"),
        ("all --model_id m --device cpux", "--device can be cpu, cuda"),
        ("quantize --model_id m --quantize Q4 --recipes gptq,none", "write --recipes none, or"),
        ("bench m --seconds 0", "--seconds 60"),
        ("diff m m", "write: embconvert diff"),
        ("compare m m", "write: embconvert compare"),
        ("batch list.yaml --quantize Q8", "write `quantize:` in the list, below `defaults:`"),
        ("push m --repo_id a/b/c", "write --repo_id org/name"),
        ("all --model_id m --task summarization", "--task can be sentence-similarity"),
        ("all --model_id m --pooling means", "did you mean mean?"),
        ("all --model_id m --min_cosine high", "--min_cosine 0.98"),
        ("all --model_id m --per_channel --no_per_channel", "remove one of them"),
        ("all --model_id m -- --trace", "remove it"),
        ("export --model_id m --quantize QInt8", "it is an option of: quantize, all"),
        ("all --model_id m --max_size 30%", "add --quantize auto"),
        ("all --model_id m --quantize QInt8 --evaluate data", "add --quantize auto"),
        ("all --model_id m --quantize auto --max_loss 1", "add --evaluate PATH"),
        ("all --model_id m --quantize auto --evaluate d --max_loss -1", "--max_loss 0.5"),
        ("all --model_id m --quantize auto --evaluate d --max_loss nan", "--max_loss 0.5"),
        ("all --model_id m --quantize auto --max_size big", "25MB, 1.5GB, or 30%"),
        (
            "all --model_id m --quantize auto --max_size 25",
            "--max_size 25MB, or 25% of the",
        ),
        ("all --model_id m --quantize auto --max_size 25B", "25MB, 1.5GB, or 30%"),
        ("all --model_id m --quantize auto --max_size 0%", "25MB, 1.5GB, or 30%"),
        ("all --model_id m --quantize auto --min_speedup 0", "--min_speedup 1.5"),
        ("all --model_id m --quantize auto --skip_validation", "remove one of them"),
        ("all --model_id m --quantize QInt8,auto", "write --quantize auto, or only"),
        ("all --model_id m --operators standard --optimize 99", "use --optimize 1"),
        ("all --model_id m --min_onnxruntime new", "--min_onnxruntime 1.22"),
        ("all --model_id m --min_onnxruntime 1.14", "--min_onnxruntime 1.15 or newer"),
        ("all --model_id m --min_cosine 0.9", "add --quantize QInt8, or omit it"),
        ("all --model_id m --no_reduce_range", "add --quantize QInt8, or omit it"),
        ("export --model_id m --force_dimensions", "add --dimensions N, or omit it"),
        ("verify models/m --min_cosine 0.9", "add --against"),
        ("verify models/m --trust_remote_code", "add --against"),
        ("batch list.yaml --shards 4", "name the part, as in --shard 1/4"),
        ("all --model_id m --quantize Q4 --recipes gptk", "did you mean gptq?"),
        (
            "all --model_id m --quantize Q4 --recipes clip",
            "add --quantize QInt8, or remove --recipes clip",
        ),
        ("all --model_id m --quantize QInt8 --table_bits 4", "add --quantize Q8, or remove"),
        ("all --model_id m --quantize Q4 --quant_format QDQ", "add --quantize QInt8Static, or"),
        ("all --model_id m --calibration_method entropy", "add --quantize QInt8Static, or remove"),
        ("all --model_id m --quantize QInt8Static --quant_format qdqs", "did you mean QDQ?"),
        ("quantize --model_id m", "write: --quantize Q8|Q4|Q4F16|QInt8"),
    ],
)
def test_a_bad_command_line_exits_2_with_one_error_and_one_hint(
    line: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line.split()) == 2
    captured = capsys.readouterr()
    error, what_next = captured.err.splitlines()
    assert error.startswith("error: ")
    assert what_next.startswith("hint: ")
    assert hint in what_next
    assert captured.out == ""


@pytest.mark.parametrize("value", ["12e4567", "0123", "[1]", "None", "True", "a=b", "x y"])
def test_values_stay_the_text_that_was_written(value: str) -> None:
    assert parse(["export", "--model_id=m", f"--revision={value}"]).revision == value
    assert parse(["export", "--model_id", value]).model_id == value


def test_a_result_without_text_prints_no_empty_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["list", str(tmp_path)]) == 0
    assert capsys.readouterr().out == ""


def test_every_option_reaches_the_request() -> None:
    request = parse(
        [
            "all",
            "--model-id",
            "org/m",
            "--output_parent_dir",
            "out",
            "--opset",
            "18",
            "--optimize",
            "99",
            "--pooling",
            "cls",
            "--quantize",
            "Float16,QInt8",
            "--no_per_channel",
            "--no_reduce_range",
            "--skip_validation",
            "--min_cosine",
            "0.5",
            "--offline",
            "--quiet=false",
        ]
    )
    assert request.command is Command.ALL
    assert (request.model_id, request.output_parent_dir) == ("org/m", Path("out"))
    assert (request.opset, request.optimize) == (18, OptimizationLevel.ALL)
    assert request.pooling is PoolingMode.CLS
    assert request.quantize == (Precision.FLOAT16, Precision.QINT8)
    assert (request.per_channel, request.reduce_range) == (False, False)
    assert (request.skip_validation, request.offline, request.quiet) == (True, True, False)
    assert request.min_cosine == 0.5


@pytest.mark.parametrize("quiet", [False, True])
def test_what_was_understood_is_said_in_one_line(
    quiet: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = str(tmp_path / "absent")
    line = ["all", "--model_id", absent, "--quantize=int8", "--layout", "TEI", f"--quiet={quiet}"]
    assert run(line) == 2
    said = capsys.readouterr().err
    assert ("--quantize int8 is read as QInt8\n--layout TEI is read as tei\n" in said) is not quiet


def test_defaults_are_those_of_the_readme() -> None:
    request = parse(["all", "--model_id", "m"])
    assert (request.optimize, request.quantize, request.opset) == (1, (), 17)
    assert (request.per_channel, request.reduce_range) == (True, True)
    assert (request.device, request.task) == ("cpu", None)
    assert str(request.output_parent_dir) == "models"


WORDS = [*COMMANDS, *(f"--{name}" for spec in COMMANDS.values() for name in spec.options)]


@given(st.lists(st.text(max_size=12) | st.sampled_from(WORDS)))
def test_no_command_line_gives_anything_but_a_request_or_a_usage_error(words: list[str]) -> None:
    try:
        cli.parse(words)
    except UsageError as error:
        assert error.message
        assert error.hint


@pytest.mark.parametrize("command", COMMANDS)
def test_help_lists_every_option_with_examples(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([command, "--help"]) == 0
    text = capsys.readouterr().out
    for option in COMMANDS[command].options.values():
        assert f"--{option.name}" in text
    for example in COMMANDS[command].examples:
        assert f"  {example}\n" in text
    assert max(map(len, text.splitlines())) <= 100
    assert "exit codes" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_example_of_the_help_is_a_command_line_that_parses(command: str) -> None:
    for example in COMMANDS[command].examples:
        spec, _ = cli.parse(example.split()[1:])
        assert spec.name == command


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_function(command: str) -> None:
    module, _, name = COMMANDS[command].function.partition(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_a_flag_does_not_take_the_next_word() -> None:
    request = parse(["all", "--quiet", "--model_id", "m", "--json", "--offline=false"])
    assert (request.quiet, request.json, request.offline) == (True, True, False)


@pytest.mark.parametrize("start", [["-m", "embconvert"], [str(ROOT / "entrypoint.py")]])
def test_help_imports_nothing_heavy(start: list[str]) -> None:
    heavy = ("torch", "transformers", "onnxruntime", "onnx", "huggingface_hub", "numpy", "fire")
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *start, "all", "--help"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    assert "--model_id" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert imported.isdisjoint(heavy)
