"""Which files of a hub model a request needs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from embconvert.errors import SourceError
from embconvert.hub.wanted import needed_files, wanted_files
from support.plans import REQUEST

NAMES = ["config.json", "model.safetensors", "README.md", "tokenizer.json", "onnx/model.onnx"]


def test_a_model_without_modules_has_its_files_at_the_root(tmp_path: Path) -> None:
    assert wanted_files(REQUEST, tmp_path, NAMES, adapter_only=False) == [
        "README.md", "config.json", "model.safetensors", "tokenizer.json",
    ]  # fmt: skip


def test_of_sharded_weights_those_are_fetched_that_their_index_names(tmp_path: Path) -> None:
    """Not all programs call them as transformers does."""
    index = "model.safetensors.index.json"
    shards = ["model-00001-of-00002.safetensors", "weights_b.safetensors"]
    names = [
        *NAMES, *shards, index, "model-00001-of-00001.safetensors", "onnx/model.safetensors",
    ]  # fmt: skip
    names.remove("model.safetensors")
    before = ["README.md", "config.json", "tokenizer.json"]

    def wanted() -> list[str]:
        return wanted_files(REQUEST, tmp_path, names, adapter_only=False)

    assert wanted() == sorted([*before, index])
    named = dict(enumerate([*shards, "README.md", "onnx/model.safetensors", "../x.safetensors", 1]))
    (tmp_path / index).write_text(json.dumps({"weight_map": named}))
    assert wanted() == sorted([*before, index, *shards])


@pytest.mark.parametrize(
    ("weights", "hint"),
    [(["onnx/model.onnx"], "of which"), (["a-Q8_0.gguf"], "of which"), (["tf_model.h5"], "save")],
)
def test_weights_of_other_programs_are_named_instead_of_fetching_the_rest(
    weights: list[str], hint: str, tmp_path: Path
) -> None:
    names = ["config.json", "tokenizer.json", *weights]
    with pytest.raises(SourceError, match=f"transformers does not load {weights[0]}") as refused:
        wanted_files(REQUEST, tmp_path, names, adapter_only=False)
    assert hint in refused.value.hint
    wanted_files(REQUEST, tmp_path, names, adapter_only=True)


@pytest.mark.parametrize(
    "others", [("modeling.py", "Modeling.py"), ("caf\u00e9.py", "cafe\u0301.py")], ids=ascii
)
def test_names_that_are_one_file_on_some_file_systems_are_refused(
    tmp_path: Path, others: tuple[str, str]
) -> None:
    request = replace(REQUEST, trust_remote_code=True)
    wanted_files(request, tmp_path, [*NAMES, others[0]], adapter_only=False)
    with pytest.raises(SourceError, match="differ only in case or accents"):
        wanted_files(request, tmp_path, [*NAMES, *others], adapter_only=False)


def test_of_a_hub_repository_only_what_is_read_is_fetched() -> None:
    names = [
        "config.json", "model.safetensors", "pytorch_model.bin", "tf_model.h5", "README.md",
        "tokenizer.json", "1_Pooling/config.json", "2_Dense/model.safetensors",
        "2_Dense/pytorch_model.bin", "onnx/model.onnx", "openvino/model.xml", "modeling.py",
        "consolidated.safetensors", "modules.json", "config_setfit.json", "model_head.pkl",
    ]  # fmt: skip
    wanted = needed_files(names, ["", "1_Pooling", "2_Dense"], python=False)
    assert wanted == [
        "1_Pooling/config.json", "2_Dense/model.safetensors", "README.md", "config.json",
        "config_setfit.json", "model.safetensors", "modules.json", "tokenizer.json",
    ]  # fmt: skip
    assert "modeling.py" in needed_files(names, [], python=True)
    sharded = ["model.safetensors.index.json", "model-00001-of-00002.safetensors", "x.safetensors"]
    assert needed_files(sharded, [], python=False) == sharded[:1]


def test_pickles_are_fetched_only_where_there_are_no_safetensors() -> None:
    pickles = ["2_Dense/pytorch_model.bin", "pytorch_model.bin.index.json"]
    others = ["2_Dense/optimizer.bin", "training_args.bin", "linear.pt", "x-1-of-2.bin"]
    folders = ["", "2_Dense"]
    assert needed_files([*pickles, *others], folders, python=False) == pickles
    assert needed_files([*pickles, "pytorch_model.bin"], folders, python=False) == [
        "2_Dense/pytorch_model.bin", "pytorch_model.bin",
    ]  # fmt: skip
    safe = ["2_Dense/model.safetensors", "model.safetensors"]
    assert needed_files([*pickles, *safe], folders, python=False) == safe
    inner = ["0_Transformer/pytorch_model.bin", "pytorch_model.bin"]
    assert needed_files(inner, ["0_Transformer"], python=False) == inner[:1]


def test_a_folder_of_a_module_may_be_inside_of_another() -> None:
    inside = ["2_Router/query_0_Dense/config.json", "2_Router/query_0_Dense/model.safetensors"]
    others = ["2_Router/document_0_Dense/config.json", "2_Router/query_0_Dense/more/config.json"]
    folders = ["", "1_Pooling", "2_Router/query_0_Dense"]
    assert needed_files([*inside, *others], folders, python=False) == inside


def test_heads_over_token_vectors_are_fetched() -> None:
    heads = ["colbert_linear.pt", "sparse_linear.pt"]
    assert needed_files([*heads, "long.jpg", "1/sparse_linear.pt"], [], python=False) == heads
