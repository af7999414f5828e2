"""The source's files are checked before anything heavy starts."""

import json
from pathlib import Path

import numpy as np
import pytest
from examples import TOKENIZER
from safetensors.numpy import save_file

from embconvert.errors import SourceError, UnsupportedModelError, UsageError
from embconvert.hub import local_folder
from embconvert.hub.cache import needed_files
from embconvert.source.folder import resolve_folder
from embconvert.source.settings.module_list import parse_modules


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder that passes every check."""
    (tmp_path / "config.json").write_text('{"model_type": "bert", "max_position_embeddings": 64}')
    (tmp_path / "tokenizer.json").write_text(TOKENIZER)
    (tmp_path / "tokenizer_config.json").write_text('{"model_max_length": 1e30}')
    save_file({"weight": np.zeros((4, 4), np.float32)}, tmp_path / "model.safetensors")
    return tmp_path


def test_a_whole_model_is_resolved(model: Path) -> None:
    resolved = resolve_folder(model, model_id="m")
    assert [file.path for file in resolved.files] == [
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    assert (resolved.max_seq_length, resolved.has_modules) == (64, False)
    (model / "tokenizer.json").write_text(f"{TOKENIZER} ")
    assert resolve_folder(model, model_id="m").digest != resolved.digest


def test_the_modules_own_length_comes_first(model: Path) -> None:
    (model / "sentence_bert_config.json").write_text('{"max_seq_length": 16}')
    assert resolve_folder(model, model_id="m").max_seq_length == 16


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", "{", "no JSON"),
        ("config.json", "[]", "no JSON object"),
        ("config.json", "{}", "no model_type"),
        ("config.json", '{"a":' * 5000 + "1" + "}" * 5000, "no JSON"),
        ("config.json", " " * (1 << 24) + "{}", "over 16 MiB"),
        ("modules.json", "{}", "no list of modules"),
        ("modules.json", '[{"path": "../x", "type": "a.B"}]', "outside the model's"),
        ("model.safetensors", "short", "truncated or corrupt"),
        ("model.safetensors", "\xff" * 64, "truncated or corrupt"),
    ],
)
def test_a_broken_file_is_named(file: str, content: str, message: str, model: Path) -> None:
    (model / file).write_text(content, encoding="latin-1")
    with pytest.raises(SourceError, match=message):
        resolve_folder(model, model_id="m")


def test_shards_must_all_be_there_and_inside(model: Path) -> None:
    (model / "model.safetensors").rename(model / "model-1.safetensors")
    index = model / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"weight": "model-1.safetensors"}}))
    assert len(resolve_folder(model, model_id="m").files) == 5
    index.write_text(json.dumps({"weight_map": {"weight": "model-2.safetensors"}}))
    with pytest.raises(SourceError, match=r"model-2\.safetensors is missing"):
        resolve_folder(model, model_id="m")
    index.write_text(json.dumps({"weight_map": {"weight": "../model-1.safetensors"}}))
    with pytest.raises(SourceError, match="outside"):
        resolve_folder(model, model_id="m")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("os.system", "remote code"),
        ("custom.Model", "remote code"),
        ("sentence_transformers.models.StaticEmbedding", "no token embeddings"),
    ],
)
def test_a_module_is_an_import_path_and_only_the_librarys_own_are_taken(
    kind: str, message: str, model: Path
) -> None:
    (model / "modules.json").write_text(json.dumps([{"path": "", "type": kind}]))
    with pytest.raises(UnsupportedModelError, match=message):
        resolve_folder(model, model_id="m")


def test_a_module_with_a_pickle_only_is_refused(model: Path) -> None:
    modules = [
        {"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "2_Dense", "type": "sentence_transformers.models.Dense"},
    ]
    (model / "modules.json").write_text(json.dumps(modules))
    (model / "2_Dense").mkdir()
    (model / "2_Dense" / "pytorch_model.bin").write_bytes(b"\x80")
    with pytest.raises(SourceError, match="only as a pickle"):
        resolve_folder(model, model_id="m")


def test_module_paths_are_relative_to_the_model() -> None:
    (module,) = parse_modules([{"path": "1_Pooling/", "type": "a.Pooling", "idx": 1}])
    assert (module.path, module.name) == ("1_Pooling", "Pooling")


def test_of_a_hub_repository_only_what_is_read_is_fetched() -> None:
    names = [
        "config.json", "model.safetensors", "pytorch_model.bin", "tf_model.h5", "README.md",
        "tokenizer.json", "1_Pooling/config.json", "2_Dense/model.safetensors",
        "2_Dense/pytorch_model.bin", "onnx/model.onnx", "openvino/model.xml", "modeling.py",
        "consolidated.safetensors", "modules.json",
    ]  # fmt: skip
    wanted = needed_files(names, ["", "1_Pooling", "2_Dense"], python=False)
    assert wanted == [
        "1_Pooling/config.json", "2_Dense/model.safetensors", "README.md", "config.json",
        "model.safetensors", "modules.json", "tokenizer.json",
    ]  # fmt: skip
    assert "modeling.py" in needed_files(names, [], python=True)
    sharded = ["model-00001-of-00002.safetensors", "model.safetensors.index.json", "x.safetensors"]
    assert needed_files(sharded, [], python=False) == sharded[:2]


@pytest.mark.parametrize("model_id", ["../../nowhere", "/nowhere/at/all", "a/b/c", "a b", "~"])
def test_what_is_neither_a_folder_nor_a_hub_id_is_refused(model_id: str) -> None:
    if model_id == "~":
        assert local_folder(model_id) == Path.home()
        return
    with pytest.raises(UsageError, match="neither a folder nor a hub id"):
        local_folder(model_id)
