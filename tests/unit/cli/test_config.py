"""Options of a file are used unless the command line gives them; a bad file is refused whole."""

from pathlib import Path

import pytest

from embconvert.cli.main import parse, run
from embconvert.models.choices import Precision


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_named_file_gives_what_the_command_line_does_not() -> None:
    Path("mine.yaml").write_text(
        "quantize: [int8, Float16]\noutput-parent-dir: out\ntrust_remote_code: yes\n"
    )
    _, request = parse(
        ["all", "--model_id", "m", "--config", "mine.yaml", "--output_parent_dir", "here"]
    )
    assert request.quantize == (Precision.QINT8, Precision.FLOAT16)
    assert request.output_parent_dir == Path("here")
    assert request.trust_remote_code


def test_the_command_line_wins_over_an_option_that_sets_the_same() -> None:
    Path("mine.yaml").write_text("no_per_channel: true\nquantize: QInt8\n")
    _, request = parse(["all", "--model_id", "m", "--config", "mine.yaml", "--per_channel"])
    assert request.per_channel is True


def test_the_usual_file_is_read_unless_none_is_wanted() -> None:
    Path("embconvert.yaml").write_text("model_id: org/name\nquantize: QInt8\n")
    assert parse(["all"])[1].model_id == "org/name"
    assert parse(["quantize", "--model_id", "m"])[1].quantize == (Precision.QINT8,)
    assert parse(["all", "--model_id", "m", "--config", "none"])[1].quantize == ()


@pytest.mark.parametrize("text", ["", "# quantize: QInt8\n", "---\n# nothing yet\n"])
def test_a_file_of_comments_gives_nothing(text: str) -> None:
    Path("embconvert.yaml").write_text(text)
    assert parse(["all", "--model_id", "m"])[1].quantize == ()


def test_what_a_file_gives_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    Path("embconvert.yaml").write_text("quantize: int8\nopset: 18\n")
    run(["export", "--model_id", "no/such", "--offline"])
    said = capsys.readouterr().err
    assert "embconvert.yaml:1: --quantize int8 is read as QInt8" in said
    assert "options of embconvert.yaml: --opset=18\n" in said
    assert "embconvert.yaml: not used by export: quantize" in said


def test_a_file_can_ask_for_silence_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    Path("embconvert.yaml").write_text("quiet: on\njson: on\n")
    run(["all", "--model_id", "no/such", "--offline"])
    printed = capsys.readouterr()
    assert "options of" not in printed.err
    assert '"exit_code": 3' in printed.out or '"exit_code": 10' in printed.out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("quantise: QInt8", "1:1: 'quantise' is not an option"),
        ("model_id: a\nquantize: [QInt8, qint9]", "2:11: --quantize 'qint9' is unknown"),
        ("opset: 18\nopset: 18", "2:1: opset occurs twice"),
        ("config: other.yaml", "1:1: 'config' is not an option"),
        ("- opset: 18", "1:1: options are expected here"),
        ("opset: &a 18\nrevision: *a", "aliases are not supported"),
        ("trust_remote_code: true", "1:1: trust_remote_code is not taken from a file"),
        ("trust-remote-code: true", "1:1: trust_remote_code is not taken from a file"),
    ],
)
def test_a_bad_file_is_refused_with_the_place(
    text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("embconvert.yaml").write_text(text)
    assert run(["all", "--model_id", "m", "--offline"]) == 2
    assert message in capsys.readouterr().err


def test_code_that_the_command_line_allows_may_be_in_the_file_too() -> None:
    Path("embconvert.yaml").write_text("trust_remote_code: true\n")
    for words in (["--config", "embconvert.yaml"], ["--trust_remote_code"]):
        assert parse(["all", "--model_id", "m", *words])[1].trust_remote_code
    assert not parse(["all", "--model_id", "m", "--trust_remote_code=false"])[1].trust_remote_code


def test_all_errors_are_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text("a: 1\nb: 2\nopset: x\n")
    assert run(["all", "--model_id", "m", "--config", "mine.yaml"]) == 2
    assert capsys.readouterr().err.count("error: mine.yaml:") == 3


@pytest.mark.parametrize("make", [Path.mkdir, lambda p: p.symlink_to("nowhere")])
def test_a_usual_file_that_cannot_be_read_is_no_absent_one(
    make: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(make)
    make(Path("embconvert.yaml"))
    assert run(["all", "--model_id", "m", "--offline"]) == 2
    assert "embconvert.yaml" in capsys.readouterr().err


def test_lists_have_their_own_defaults() -> None:
    Path("embconvert.yaml").write_text("quantize: nonsense")
    Path("models.yaml").write_text("models: [a]")
    assert parse(["batch", "models.yaml"])[1].file == Path("models.yaml")
