"""A list of models is read whole, and refused whole with every line that is wrong."""

from pathlib import Path

import pytest

from embconvert.console import Console
from embconvert.errors import UsageError
from embconvert.fleet.entries import Entry, read_entries
from embconvert.models.choices import OptimizationLevel, Precision
from embconvert.request.records import BatchRequest


def read(text: str, folder: Path, **options: object) -> list[Entry]:
    file = folder / "models.yaml"
    file.write_text(text)
    return read_entries(BatchRequest(file=file, **options))  # type: ignore[arg-type]


def errors(text: str, folder: Path) -> list[str]:
    """What is wrong, each as `line:column: message; hint`."""
    with pytest.raises(UsageError) as caught:
        read(text, folder)
    return [
        f"{part.message.partition('models.yaml:')[2]}; {part.hint}" for part in caught.value.parts
    ]


def test_an_entry_is_an_id_or_options_and_shares_the_defaults(tmp_path: Path) -> None:
    first, second = read(
        """
defaults:
  quantize: [QInt8, Float16]
  no_per_channel: true
  optimize: 2
models:
  - org/one
  - model_id: org/two
    revision: 12e4567
    quantize: QUInt8
    per_channel: yes
    output-parent-dir: out
""",
        tmp_path,
        quiet=True,
        offline=True,
    )
    assert (first.line, first.model_id, first.folder) == (7, "org/one", Path("models/org/one"))
    assert first.request.quantize == (Precision.QINT8, Precision.FLOAT16)
    assert (first.request.per_channel, first.request.optimize) == (
        False,
        OptimizationLevel.EXTENDED,
    )
    assert (first.request.quiet, first.request.offline) == (True, True)
    assert (second.line, second.folder) == (8, Path("out/org/two"))
    assert second.request.revision == "12e4567"
    assert second.request.quantize == (Precision.QUINT8,)
    assert second.request.per_channel is True


def test_values_have_their_usual_names_which_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "models.yaml"
    model = "  - {model_id: org/%d, quantize: int8}\n"
    file.write_text("models:\n" + model % 1 + model % 2)
    entries = read_entries(BatchRequest(file=file), Console(quiet=False, debug=False))
    assert [entry.request.quantize for entry in entries] == [(Precision.QINT8,)] * 2
    assert capsys.readouterr().err == f"{file}:2: --quantize int8 is read as QInt8\n"


def test_json_is_yaml(tmp_path: Path) -> None:
    text = (
        '{\n\t"defaults": {"skip_validation": true},\n\t"models": ["org/one", {"model_id": "a"}]\n}'
    )
    assert [e.request.skip_validation for e in read(text, tmp_path)] == [True, True]


def test_the_command_line_stands_between_the_defaults_and_a_model(tmp_path: Path) -> None:
    text = """
defaults: {output_parent_dir: list}
models: [a, {model_id: b, output_parent_dir: own}]
"""
    folders = [e.folder for e in read(text, tmp_path, output_parent_dir=Path("line"))]
    assert folders == [Path("line/a"), Path("own/b")]


def test_everything_that_is_wrong_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    found = errors(
        f"""
defaults:
  quantise: QInt8
  model_id: x
models:
  - no/such/folder
  - model_id: a
    opset: 99
    opset: 18
    optimize:
  - model_id: b
    quantize: [QInt8, int7]
  - revision: main
  - model_id: {tmp_path / "local"}
    revision: main
  - model_id: c
    per_channel: maybe
  - model_id: d
    calibration_dataset: no-such-file
  - [e]
fallback: 1
""",
        tmp_path,
    )
    assert [line.split(";")[0].split(": ")[0] for line in found] == [
        "3:3", "4:3", "6:5", "8:12", "9:5", "10:14", "12:15", "13:5", "14:5", "17:18", "18:5",
        "20:5", "21:1",
    ]  # fmt: skip
    assert "did you mean quantize?" in found[0]
    assert "no folder of that name" in found[2]
    assert "between 17 and 20" in found[3]
    assert "'int7' is unknown" in found[6]
    assert "model_id is missing" in found[7]


@pytest.mark.parametrize(
    ("models", "where"),
    [
        ("[a, b, a]", "the same output folder as line 1: models/a"),
        ("[a/b, a]", "models/a/b, inside that of line 1"),
        ("[a, {model_id: a, output_parent_dir: ./models}]", "the same output folder as line 1"),
        ("[a, {model_id: a, output_parent_dir: x/../models}]", "the same output folder as line 1"),
    ],
)
def test_two_models_cannot_go_to_one_folder(models: str, where: str, tmp_path: Path) -> None:
    (line,) = errors(f"models: {models}", tmp_path)
    assert where in line
    assert "output_parent_dir" in line


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "1:1: this is not a list of models"),
        ("# nothing", "2:1: this is not a list of models"),
        ("just words", "1:1: this is not a list of models"),
        ("models: []", "1:9: the list has no models"),
        ("models:\n", "1:8: the list has no models"),
        ("defaults: {}", "1:1: the list has no models"),
        ("models:\n  - a\n - b", "3:2: "),
        ("models: [a]\n---\nmodels: [b]", "2:1: it has a second document"),
        ("a: &a [x, x]\nmodels: [*a, *a]", "2:10: aliases are not supported"),
        ("models: [" + "[" * 500, "1:17: it is nested more than 8 levels deep"),
        ("models: [" + "[" * 200_000, "1:"),  # newer versions of PyYAML refuse it themselves
        ("models: {[a]: b}", "1:10: a key must be a word"),
        ("models: ['a", "1:"),
        ("models: [\x00]", "1:"),
    ],
)
def test_what_is_no_list_is_refused(text: str, problem: str, tmp_path: Path) -> None:
    assert errors(text, tmp_path)[0].startswith(problem)


def test_a_hopeless_list_does_not_flood_the_screen(tmp_path: Path) -> None:
    assert len(errors("models:\n" + "  - 'not an id'\n" * 1000, tmp_path)) == 20


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"models: " + b" " * (1 << 24)])
def test_a_file_that_is_no_text_or_absurd_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(content)
    with pytest.raises(UsageError, match=r"not UTF-8|over 16 MiB"):
        read_entries(BatchRequest(file=tmp_path / "list"))
    with pytest.raises(UsageError, match="No such file"):
        read_entries(BatchRequest(file=tmp_path / "nothing"))
