"""Numbers on a command line and in variables: of any length, an error of the user's and no bug."""

from pathlib import Path

import pytest

from embconvert.cli.main import run

LONG = "9" * 5000  # Python refuses to read more than 4,300 digits


@pytest.mark.parametrize(
    "words",
    [
        ["export", "--dimensions", LONG], ["export", "--opset", LONG],
        ["export", "--min_onnxruntime", f"1.{LONG}"], ["export", "--max_graph_seconds", LONG],
        ["export", "--device", f"cuda:{LONG}"], ["export", "--device", "cuda:\N{SUPERSCRIPT TWO}"],
    ],
    ids=lambda words: words[1][2:],
)  # fmt: skip
def test_a_number_of_5000_digits_is_an_error_of_usage(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*words, "--model_id", "org/name", "--offline"]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert words[1] in said


def test_a_shard_of_5000_digits_is_an_error_of_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["batch", "list.yaml", "--shard", f"1/{LONG}"]) == 2
    assert "--shard" in capsys.readouterr().err


def test_a_variable_of_5000_digits_is_an_error_of_usage(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JOB_COMPLETION_INDEX", LONG)
    (tmp_path / "list.yaml").write_text("models:\n- org/name\n")
    words = ["batch", str(tmp_path / "list.yaml"), "--shard", "auto", "--shards", "2"]
    assert run([*words, "--output_parent_dir", str(tmp_path), "--offline"]) == 2
    assert "JOB_COMPLETION_INDEX" in capsys.readouterr().err
