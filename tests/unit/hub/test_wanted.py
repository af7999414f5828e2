"""Which files of a hub model a request needs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from embconvert.errors import SourceError
from embconvert.hub.wanted import wanted_files
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
