"""Folders laid out for other programs, and graphs that give what the user changed of the model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from support import zoo
from support.command_line import LARGE_MODEL, Outcome, convert, embconvert, files_in

pytestmark = pytest.mark.integration


def graphs_in(folder: Path) -> set[str]:
    return {file for file in files_in(folder) if ".onnx" in file}


def test_one_folder_goes_from_layout_to_layout_without_making_anything_again(
    tiny_bert: Path, tmp_path: Path
) -> None:
    folder = tmp_path / tiny_bert.name
    convert(tiny_bert, tmp_path, "--quantize", "QInt8", "--layout", "nixiesearch")
    assert graphs_in(folder) == {"model.onnx", "onnx/model.onnx", "onnx/model_opt1.onnx"}
    quantized = (folder / "model.onnx").read_bytes()

    again = convert(tiny_bert, tmp_path, "--quantize", "QInt8", "--layout", "transformersjs")
    assert "load the source" not in again.stderr
    assert "model.onnx is now onnx/model_quantized.onnx" in again.stderr
    assert graphs_in(folder) == {
        "onnx/model.onnx", "onnx/model_opt1.onnx", "onnx/model_quantized.onnx",
    }  # fmt: skip
    assert (folder / "onnx" / "model_quantized.onnx").read_bytes() == quantized
    assert again.manifest["layout"] == "transformersjs"

    back = convert(tiny_bert, tmp_path, "--layout", "hub")
    assert "onnx/model_quantized.onnx is removed" in back.stderr
    assert graphs_in(folder) == {"onnx/model.onnx", "onnx/model_opt1.onnx"}


def test_quantize_goes_on_in_the_layout_of_the_folder(tiny_bert: Path, tmp_path: Path) -> None:
    convert(tiny_bert, tmp_path, "--layout", "transformersjs", "--skip_validation")
    outcome = embconvert(
        "quantize", "--model_id", tiny_bert, "--output_parent_dir", tmp_path,
        "--quantize", "Float16", "--skip_validation",
    )  # fmt: skip
    assert outcome.code == 0, outcome.stderr
    assert "onnx/model_fp16.onnx" in graphs_in(tmp_path / tiny_bert.name)


def test_config_json_has_what_the_program_reads_by_the_name_that_it_reads(tmp_path: Path) -> None:
    model = zoo.build_model("distilbert", tmp_path / "m")  # its config has `dim` and `n_layers`
    source = json.loads((model / "config.json").read_text())
    assert "hidden_size" not in source
    convert(model, tmp_path / "out", "--layout", "tei", "--skip_validation")
    config = json.loads((tmp_path / "out" / "m" / "config.json").read_text())
    assert config == {**source, "hidden_size": zoo.HIDDEN_SIZE, "num_hidden_layers": 2}


def test_external_data_is_told_to_transformersjs(tiny_bert: Path, tmp_path: Path) -> None:
    outcome = embconvert(
        "export", "--model_id", tiny_bert, "--output_parent_dir", tmp_path,
        "--layout", "transformersjs", "--skip_validation", env=LARGE_MODEL,
    )  # fmt: skip
    assert outcome.code == 0, outcome.stderr
    folder = tmp_path / tiny_bert.name
    assert graphs_in(folder) == {"onnx/model.onnx", "onnx/model.onnx_data"}
    config = json.loads((folder / "config.json").read_text())
    assert config["transformers.js_config"] == {"use_external_data_format": {"model.onnx": 1}}


def test_a_layout_without_external_data_refuses_a_graph_that_has_some(
    tiny_bert: Path, tmp_path: Path
) -> None:
    outcome = embconvert(
        "export", "--model_id", tiny_bert, "--output_parent_dir", tmp_path,
        "--layout", "singlefile", "--skip_validation", env=LARGE_MODEL,
    )  # fmt: skip
    assert outcome.code == 5, outcome.stderr
    assert "--layout singlefile does not support" in outcome.stderr
    assert not (tmp_path / tiny_bert.name).exists()


def test_dimensions_need_a_model_that_announces_them(tiny_bert: Path, tmp_path: Path) -> None:
    options = ("--model_id", tiny_bert, "--output_parent_dir", tmp_path, "--dimensions", 16)
    refused = embconvert("export", *options)
    assert refused.code == 2
    assert "--force_dimensions" in refused.stderr
    assert not list(tmp_path.iterdir())
    forced = embconvert("export", *options, "--force_dimensions", "--skip_validation")
    assert forced.code == 0
    assert "warning:" in forced.stderr


@pytest.mark.parametrize("says", ["card", "config"])
def test_a_model_that_announces_dimensions_is_cut(says: str, tmp_path: Path) -> None:
    model = zoo.build_model("bert", tmp_path / "m")
    if says == "card":
        (model / "README.md").write_text("Trained with MatryoshkaLoss.", encoding="utf-8")
    else:
        path = model / "config.json"
        config = json.loads(path.read_text()) | {"matryoshka_dimensions": [8, 16]}
        path.write_text(json.dumps(config), encoding="utf-8")
    outcome = convert(model, tmp_path / "out", "--dimensions", 16, "--quantize", "QInt8")
    assert outcome.graph("model.onnx")["outputs"][1]["shape"] == ["batch", 16]
    assert_encodes_as(outcome, model, truncate_dim=16, normalize_embeddings=True)


@pytest.mark.parametrize("output", ["both", "sentence"])
def test_what_the_user_changes_is_in_the_graph_and_in_the_modules(
    output: str, tmp_path: Path
) -> None:
    from sentence_transformers import SentenceTransformer

    model = zoo.build_model("roberta", tmp_path / "m", normalize=False)
    outcome = convert(
        model, tmp_path / "out", "--pooling", "cls", "--normalize", "--output", output,
        "--quantize", "Float16",
    )  # fmt: skip
    changed = zoo.build_model("roberta", tmp_path / "changed", pooling="cls")
    assert_encodes_as(outcome, changed)
    names = [o["name"] for o in outcome.graph("model_opt1_Float16.onnx")["outputs"]]
    assert names == ["last_hidden_state", "sentence_embedding"][-len(names) :]
    assert len(names) == (2 if output == "both" else 1)
    # sentence-transformers builds the same modules of the folder as it was told to.
    folder = Path(outcome.stdout.strip())
    (folder / "model.safetensors").symlink_to(model / "model.safetensors")
    chain = SentenceTransformer(str(folder), device="cpu")
    assert [type(module).__name__ for module in chain] == ["Transformer", "Pooling", "Normalize"]
    assert chain[1].pooling_mode == "cls"


def assert_encodes_as(outcome: Outcome, model: Path, **options: Any) -> None:
    """The published float32 graph gives what sentence-transformers' encode() gives."""
    import onnxruntime
    from sentence_transformers import SentenceTransformer

    folder = Path(outcome.stdout.strip())
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    session = onnxruntime.InferenceSession(str(folder / "onnx" / "model.onnx"))
    theirs = SentenceTransformer(str(model), device="cpu").encode(list(zoo.SENTENCES), **options)
    for text, reference in zip(zoo.SENTENCES, theirs, strict=True):
        encoding = tokenizer.encode(text)
        feed = {
            "input_ids": encoding.ids,
            "attention_mask": encoding.attention_mask,
            "token_type_ids": encoding.type_ids,
        }
        inputs = {i.name: np.array([feed[i.name]]) for i in session.get_inputs()}
        ours = session.run(["sentence_embedding"], inputs)[0][0]
        np.testing.assert_allclose(ours, reference, atol=1e-5)
