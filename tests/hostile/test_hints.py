"""Hints harm nobody, name options that the command has, and work; no error says a thing twice."""

import itertools
import os
import re
import shutil
from pathlib import Path

import pytest

from embconvert.cli.commands import COMMANDS
from embconvert.cli.hints import hint_with_commands
from embconvert.cli.main import run
from embconvert.errors import SourceError
from embconvert.pipeline.checks import joined_reasons
from embconvert.request.fleet_options import ENTRY_OPTIONS
from support.faulty_runs import NOBODY, Run, Runner, small_disk

pytestmark = pytest.mark.integration
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root, to be another user")

OURS = "tiny-bert"
OPTION = re.compile(r"--([a-z]\w+)")


def conversion(runner: Runner, model: Path, parent: Path) -> Path:
    done = runner.run(
        parent, "export", "--model_id", model, "--output_parent_dir", parent, "--skip_validation"
    )
    assert done.code == 0, done.stderr
    for path in parent.rglob("*"):
        path.chmod(path.stat().st_mode | 0o044)
    return parent / OURS


def hint_of(done: Run) -> str:
    assert done.code == 9, done.stderr
    assert len(done.errors) == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("hint: ")
    for harmful in ("sudo", "chown", "chmod", "rm ", "-R"):
        assert harmful not in last
    return last.removeprefix("hint: ")


@needs_root
def test_a_comparison_that_cannot_be_written_has_a_hint_that_works(
    runner: Runner, tiny_bert: Path, everybodys: Path
) -> None:
    folders = [conversion(runner, tiny_bert, everybodys / name) for name in ("one", "two")]
    (everybodys / "a" / "b").mkdir(parents=True)
    mine = everybodys / "mine"
    mine.mkdir()
    os.chown(mine, NOBODY, NOBODY)

    def compare(output: Path) -> Run:
        return runner.run(everybodys, "compare", *folders, "--output", output, user=NOBODY)

    for output in (everybodys / "a/b/x.html", everybodys / "a/c/d/x.html", everybodys / "x.html"):
        hint = hint_of(compare(output))
        assert hint == "choose another --output for which you have write permission"
    assert compare(mine / "deep" / "x.html").code == 0
    disk = everybodys / "disk"
    with small_disk(disk, "ro,size=1m"):
        assert hint_of(compare(disk / "x.html")) == "choose another --output"


@needs_root
def test_a_conversion_that_cannot_be_written_has_a_hint_that_works(
    runner: Runner, tiny_bert: Path, everybodys: Path
) -> None:
    model = everybodys / "in" / OURS
    shutil.copytree(tiny_bert, model)
    (model / "model.safetensors").chmod(0o644)
    mine = everybodys / "mine"
    (mine / "theirs" / OURS).mkdir(parents=True)
    os.chown(mine, NOBODY, NOBODY)
    os.chown(mine / "theirs", NOBODY, NOBODY)  # the folder in it is root's

    def export(parent: Path) -> Run:
        return runner.run(
            everybodys, "export", "--model_id", model, "--output_parent_dir", parent,
            "--skip_validation", user=NOBODY,
        )  # fmt: skip

    for parent in (everybodys, everybodys / "new" / "newer", mine / "theirs"):
        hint = hint_of(export(parent))
        assert hint == "choose another --output_parent_dir for which you have write permission"
    assert export(mine).code == 0
    disk = everybodys / "disk"
    with small_disk(disk, "ro,size=1m"):
        assert hint_of(export(disk)) == "choose another --output_parent_dir"


@needs_root
def test_a_report_that_cannot_be_written_has_a_hint_that_works(
    runner: Runner, tiny_bert: Path, everybodys: Path
) -> None:
    folder = conversion(runner, tiny_bert, everybodys / "one")
    hint = hint_of(runner.run(everybodys, "report", folder, user=NOBODY))
    assert hint == "make a copy of the folder for which you have write permission"
    copy = everybodys / "copy"
    shutil.copytree(folder, copy)
    for path in (copy, *copy.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    assert runner.run(everybodys, "report", copy, user=NOBODY).code == 0


@needs_root
@pytest.mark.parametrize("command", ["export", "all"])
def test_a_full_disk_names_options_of_the_command(
    command: str, runner: Runner, tiny_bert: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, "size=100k"):
        done = runner.run(
            disk, command, "--model_id", tiny_bert, "--output_parent_dir", disk,
            "--skip_validation", *(["--quantize", "QInt8"] if command == "all" else []),
        )  # fmt: skip
    named = set(OPTION.findall(hint_of(done)))
    assert named <= set(COMMANDS[command].options)


#: Command lines that fail, each in another way; MODEL is a model, DIR a conversion of it.
FAILING = """
export
export MODEL
export --model_id MODEL --opset 99
export --model_id MODEL --model_path x
export --model_id MODEL --task fill-mask
export --model_id MODEL --dimensions 5
export --model_id MODEL --dimensions 500 --force_dimensions
export --model_id MODEL --pooling nonsense
export --model_id MODEL --device cuda:7
export --model_id MODEL --revision main
export --model_id MODEL --layout nonsense
export --model_id a/b --offline --cache_dir CACHE
export --model_id a//b
export --model_id FILE
export --model_id EMPTY
export --model_id BROKEN
export --model_id MODEL --output_parent_dir FILE
export --model_id MODEL --output_parent_dir FILE/x
optimize --model_id MODEL --output_parent_dir CACHE
optimize --model_id MODEL --model_path FILE
optimize --model_id MODEL --model_path nowhere
optimize --model_id MODEL --model_path EMPTY
quantize --model_id MODEL
quantize --model_id MODEL --quantize QInt9
quantize --model_id MODEL --quantize QInt8 --output_parent_dir CACHE
quantize --model_id MODEL --quantize QInt8 --calibration_dataset nowhere
quantize --model_id MODEL --quantize QInt8 --calibration_dataset EMPTY
quantize --model_id MODEL --quantize QInt8 --table_bits 4
quantize --model_id MODEL --quantize QInt8 --min_cosine 2
all --model_id MODEL --quantize auto --skip_validation
all --model_id MODEL --no_float32
all --model_id MODEL --quantize QInt8 --min_onnxruntime 1.2
all --model_id MODEL --quantize QInt8 --layout tei --no_float32 --optimize 99
batch
batch nowhere
batch EMPTY
batch FILE
batch LIST
batch WRONG
verify nowhere
verify EMPTY
verify DIR --against nowhere
verify DIR --against EMPTY
verify DIR --against a/b --offline --cache_dir CACHE
verify DAMAGED
report nowhere
report EMPTY
report DAMAGED
compare DIR
compare DIR nowhere
compare DIR DAMAGED
compare DIR COPY --output EMPTY
push DIR
push DIR --repo_id a/b
push EMPTY --repo_id a/b
push DAMAGED --repo_id a/b
push DIR --repo_id a/b --private --create_pr --revision x
nonsense
""".strip().splitlines()


@pytest.fixture(scope="module")
def places(
    runner: Runner, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("hints")
    made = {name: root / name.lower() for name in ("EMPTY", "CACHE", "FILE", "LIST", "WRONG")}
    made["EMPTY"].mkdir()
    made["FILE"].write_text("no list: at all\n")
    made["LIST"].write_text("models: [a/b, /nowhere/x]\n")
    made["WRONG"].write_text("models: [{model_id: a/b, opset: x, opset: 3, nonsense: 1}]\n")
    made["MODEL"] = tiny_bert
    made["DIR"] = conversion(runner, tiny_bert, root / "made")
    made["COPY"] = Path(shutil.copytree(made["DIR"], root / "copy"))
    made["DAMAGED"] = Path(shutil.copytree(made["DIR"], root / "damaged"))
    (made["DAMAGED"] / "embconvert.json").write_text("{")
    made["BROKEN"] = Path(shutil.copytree(tiny_bert, root / "broken"))
    (made["BROKEN"] / "config.json").write_text("{")
    return made


@pytest.mark.parametrize("line", FAILING)
def test_an_error_says_a_thing_once_and_its_hint_names_what_the_command_has(
    line: str, places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    words = []
    for word in line.split():
        first, slash, rest = word.partition("/")
        words.append(f"{places[first]}{slash}{rest}" if first in places else word)
    code = run(words)
    assert code not in (0, 1)
    said = capfd.readouterr().err.splitlines()
    errors = [n for n, text in enumerate(said) if text.startswith("error: ")]
    assert errors
    spec = COMMANDS.get(words[0])
    for number in errors:
        message, hint = said[number].removeprefix("error: "), said[number + 1]
        assert hint.startswith("hint: ")
        hint = hint.removeprefix("hint: ")
        assert_said_once(message, hint)
        if spec is not None:
            known = set(spec.options) | (set(ENTRY_OPTIONS) if spec.name == "batch" else set())
            own = re.sub(r"embconvert [a-z].*|\(.* option of.*\)", "", hint)
            assert set(OPTION.findall(own)) <= known, hint


def assert_said_once(message: str, hint: str) -> None:
    parts = [part.strip(" .").casefold() for part in re.split(r": |; ", message)]
    assert len(parts) == len(set(parts)), message
    assert hint.casefold() not in message.casefold()
    words = [word for word in f"{message} | {hint}".split() if word not in ("|", "--")]
    runs = [tuple(words[i : i + 6]) for i in range(len(words) - 5)]
    assert len(runs) == len(set(runs)), (message, hint)
    for path in itertools.chain(re.findall(r"/\S+/\S+", message)):
        assert message.count(path) == 1, message


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("x: x", "x"),
        ("a: broken: Broken.", "a: broken"),
        ("a: b: a", "a: b: a"),
        ("x: x: x", "x"),
        ("http://x: y", "http://x: y"),
    ],
)
def test_an_error_inside_an_error_is_not_repeated(message: str, said: str) -> None:
    assert SourceError(message, "hint").message == said


def test_a_reason_that_both_exporters_give_is_said_once() -> None:
    reasons = [
        "torch's trace exporter fails: no room",
        "torch's torch.export exporter fails: no room",
    ]
    assert joined_reasons(reasons) == (
        "torch's trace exporter fails: no room; "
        "torch's torch.export exporter fails, for the same reason"
    )
    assert joined_reasons(["a: b", "c: d"]) == "a: b; c: d"


def test_a_hint_of_a_shared_stage_says_whose_its_options_are() -> None:
    hint = "try --opset 17, or --optimize 0"
    assert hint_with_commands(hint, COMMANDS["all"]) == hint
    assert hint_with_commands(hint, COMMANDS["quantize"]) == (
        f"{hint} (--opset is an option of: export, all; --optimize is an option of: optimize, all)"
    )
    assert hint_with_commands("run: embconvert all --opset 17", COMMANDS["quantize"]).endswith(
        "--opset 17"
    )
