"""Bad input gets one error line, one hint line, its exit code, and no change on disk."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from support.command_line import Outcome, embconvert, files_in
from support.pickling import call, pickle_of, save_pickle, text

pytestmark = pytest.mark.integration


def no_model(model: Path) -> None:
    shutil.rmtree(model)
    model.mkdir()


def no_tokenizer(model: Path) -> None:
    for name in ("tokenizer.json", "vocab.txt"):
        (model / name).unlink(missing_ok=True)


def truncated_weights(model: Path) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def corrupt_weights(model: Path) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(b"\xff" * 64 + weights.read_bytes()[64:])


def pickled_weights(model: Path) -> None:
    (model / "model.safetensors").unlink()
    save_pickle(model / "pytorch_model.bin", pickle_of(call("builtins", "eval", text("1"))))


def foreign_weights(model: Path) -> None:
    """The file is whole, but of another model: transformers would make weights up."""
    config = json.loads((model / "config.json").read_text())
    config["num_hidden_layers"] += 1
    (model / "config.json").write_text(json.dumps(config))


def other_sizes(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    config["max_position_embeddings"] -= 1
    (model / "config.json").write_text(json.dumps(config))


def no_pooling(model: Path) -> None:
    modules = json.loads((model / "modules.json").read_text())
    (model / "modules.json").write_text(json.dumps(modules[:1]))


def no_folder_of_a_module(model: Path) -> None:
    shutil.rmtree(model / "1_Pooling")


def unknown_architecture(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    config["model_type"] = "of_next_year"
    (model / "config.json").write_text(json.dumps(config))


def remote_code(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    config |= {"model_type": "of_somebody", "auto_map": {"AutoModel": "modeling.Model"}}
    (model / "config.json").write_text(json.dumps(config))
    (model / "modeling.py").write_text("raise SystemExit('remote code ran')")


@pytest.mark.parametrize(
    ("spoil", "code", "message", "hint"),
    [
        (no_model, 3, "is not a model", "hub id"),
        (no_tokenizer, 3, "no tokenizer", "tokenizer.json"),
        (truncated_weights, 3, "model.safetensors is truncated or corrupt", "download"),
        (corrupt_weights, 3, "model.safetensors is truncated or corrupt", "download"),
        (pickled_weights, 3, "asks for builtins.eval", "safe_serialization"),
        (foreign_weights, 3, "is not in the model's files", "download the model again"),
        (other_sizes, 3, "position_embeddings.weight is 128x32 in the model's files", "sizes"),
        (no_pooling, 3, "modules.json has no pooling", "--pooling"),
        (no_folder_of_a_module, 3, "1_Pooling/config.json is missing", "all folders"),
        (unknown_architecture, 4, "of_next_year", "newer"),
        (remote_code, 4, "remote code", "--trust_remote_code"),
    ],
)
def test_a_bad_model_is_refused(
    spoil: Callable[[Path], None],
    code: int,
    message: str,
    hint: str,
    tiny_bert: Path,
    tmp_path: Path,
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_bert, model)
    spoil(model)
    before = files_in(tmp_path)
    outcome = embconvert("all", "--model_id", model, "--output_parent_dir", tmp_path / "out")
    assert_refused(outcome, code, message, hint)
    assert files_in(tmp_path) == before
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message", "hint"),
    [
        (("--optimize", "3"), 2, "--optimize '3'", "0, 1, 2, 99"),
        (("--quantize", "int9"), 2, "--quantize 'int9'", "did you mean QInt8?"),
        (("--opset", "9"), 2, "--opset must be between 17 and 20, not 9", "17"),
        (("--device", "cuda:7"), 2, "cuda:7 does not exist", "cpu"),
        (("--task", "text-generation"), 2, "text-generation", "sentence-similarity"),
        (
            ("--quantize", "Q4", "--calibration_dataset", "absent.txt"),
            2,
            "No such file",
            "one text per line",
        ),
        (("--min_cosine", "2"), 2, "between 0 and 1", "0.98"),
        (("--model-size", "3"), 2, "--model_size is not an option", "--help"),
    ],
)
def test_a_bad_option_is_refused(
    arguments: tuple[str, ...],
    code: int,
    message: str,
    hint: str,
    tiny_bert: Path,
    tmp_path: Path,
) -> None:
    outcome = embconvert(
        "all", "--model_id", tiny_bert, "--output_parent_dir", tmp_path / "out", *arguments
    )
    assert_refused(outcome, code, message, hint)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("content", "message"), [(b"", "has no texts"), (b"\xff\xfe", "UTF-8")])
def test_a_bad_calibration_file_is_refused(
    content: bytes, message: str, tiny_bert: Path, tmp_path: Path
) -> None:
    dataset = tmp_path / "texts.txt"
    dataset.write_bytes(content)
    outcome = embconvert(
        "all", "--model_id", tiny_bert, "--output_parent_dir", tmp_path / "out",
        "--quantize", "QInt8Static", "--calibration_dataset", dataset,
    )  # fmt: skip
    assert_refused(outcome, 2, message, "text")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"this is no ONNX", b"\x08\x08" * 100])
def test_a_file_that_is_no_onnx_is_refused(content: bytes, tiny_bert: Path, tmp_path: Path) -> None:
    graph = tmp_path / "graph.onnx"
    graph.write_bytes(content)
    outcome = embconvert(
        "optimize", "--model_id", tiny_bert, "--model_path", graph,
        "--output_parent_dir", tmp_path / "out",
    )  # fmt: skip
    assert_refused(outcome, 3, "not an ONNX file", "ONNX file")
    assert not (tmp_path / "out").exists()


def test_a_quantized_graph_is_not_quantized_again(tiny_bert: Path, tmp_path: Path) -> None:
    common = ("--model_id", tiny_bert, "--output_parent_dir", tmp_path, "--skip_validation")
    embconvert("all", *common, "--quantize", "QInt8")
    graph = tmp_path / "tiny-bert" / "onnx" / "model_opt1_QInt8.onnx"
    outcome = embconvert("quantize", *common, "--model_path", graph, "--quantize", "QUInt8")
    assert_refused(outcome, 4, "already quantized", "exported")


def test_optimize_without_an_export_says_what_to_run_first(tiny_bert: Path, tmp_path: Path) -> None:
    outcome = embconvert("optimize", "--model_id", tiny_bert, "--output_parent_dir", tmp_path)
    assert_refused(outcome, 3, "has no onnx/model.onnx", "embconvert export")
    assert files_in(tmp_path) == {}


def test_a_path_that_climbs_out_of_everything_is_no_model(tmp_path: Path) -> None:
    outcome = embconvert("all", "--model_id", "../../etc", cwd=tmp_path)
    assert outcome.code in (2, 3)
    assert_refused(outcome, outcome.code, "", "")


def test_an_output_folder_that_is_a_file_is_refused(tiny_bert: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny-bert").write_text("a file")
    outcome = embconvert("export", "--model_id", tiny_bert, "--output_parent_dir", tmp_path)
    assert_refused(outcome, 9, "is a file", "--output_parent_dir")
    assert (tmp_path / "tiny-bert").read_text() == "a file"


def test_a_parent_folder_that_is_a_file_is_refused(tiny_bert: Path, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    outcome = embconvert(
        "export", "--model_id", tiny_bert, "--output_parent_dir", tmp_path / "models"
    )
    assert_refused(outcome, 9, "", "--output_parent_dir")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux")
def test_a_read_only_output_folder_is_refused(tiny_bert: Path) -> None:
    """/proc takes no folders from anybody; root ignores the permissions of ordinary folders."""
    outcome = embconvert("export", "--model_id", tiny_bert, "--output_parent_dir", "/proc/models")
    assert_refused(outcome, 9, "cannot be written", "--output_parent_dir")


def test_the_source_folder_is_never_the_output_folder(tiny_bert: Path) -> None:
    outcome = embconvert("export", "--model_id", tiny_bert, "--output_parent_dir", tiny_bert.parent)
    assert_refused(outcome, 2, "is the source folder", "--output_parent_dir")


def test_no_network_says_so(tmp_path: Path) -> None:
    outcome = embconvert(
        "all", "--model_id", "somebody/model", "--output_parent_dir", tmp_path / "out",
        "--cache_dir", tmp_path / "cache",
        env={"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"},
    )  # fmt: skip
    assert_refused(outcome, 10, "somebody/model", "network")
    assert not (tmp_path / "out").exists()


def test_a_name_that_may_be_of_a_folder_is_told_as_such_without_network(tmp_path: Path) -> None:
    outcome = embconvert("all", "--model_id", "my-modle", env={"HF_HUB_OFFLINE": "1"}, cwd=tmp_path)
    problem = "my-modle is not a folder here, and cannot be fetched: the variable HF_HUB_OFFLINE"
    assert_refused(outcome, 10, problem, "unset HF_HUB_OFFLINE")


def test_a_model_that_tells_no_texts_apart_is_told(tiny_bert: Path, tmp_path: Path) -> None:
    """Its embeddings are equal in every file, also in a wrong one."""
    model = shutil.copytree(tiny_bert, tmp_path / "model")
    weights = load_file(model / "model.safetensors")
    nothing = {name: np.zeros_like(value) for name, value in weights.items()}
    save_file(nothing, model / "model.safetensors", metadata={"format": "pt"})
    made = embconvert("export", "--model_id", model, "--output_parent_dir", tmp_path / "out")
    assert made.code == 0
    assert "the source model gives all texts the same output" in made.stderr


def assert_refused(outcome: Outcome, code: int, message: str, hint: str) -> None:
    lines = outcome.stderr.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    hints = [line for line in lines if line.startswith("hint: ")]
    assert (outcome.code, len(errors), len(hints)) == (code, 1, 1), outcome.stderr
    assert message in errors[0]
    assert hint in hints[0]
    assert lines[-2:] == [errors[0], hints[0]]
    assert outcome.stdout == ""
    assert "Traceback" not in outcome.stderr
    assert os.environ.get("HF_TOKEN", "(unset)") not in outcome.stderr
