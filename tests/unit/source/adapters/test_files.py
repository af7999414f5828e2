"""Where an adapter's files are."""

import json
from pathlib import Path

import pytest
from safetensors.numpy import save_file

from embconvert.errors import SourceError, UnsupportedModelError, UsageError
from embconvert.source.adapters.files import (
    adapter_place,
    local_files,
    needed_of_adapter,
    own_place,
    own_places,
    refuse_adapter,
    resolve_adapter,
)


def adapter(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    save_file({}, folder / "adapter_model.safetensors")
    return folder


def modules(folder: Path, place: str) -> None:
    entry = {
        "idx": 0,
        "name": "0",
        "path": place,
        "type": "sentence_transformers.models.Transformer",
    }
    (folder / "modules.json").write_text(json.dumps([entry]))


@pytest.mark.parametrize("place", ["", "0_Transformer"])
def test_a_folder_whose_only_weights_are_an_adapter_is_one(tmp_path: Path, place: str) -> None:
    modules(tmp_path, place)
    assert adapter_place(tmp_path) is None
    adapter(tmp_path / place)
    assert adapter_place(tmp_path) == place
    (tmp_path / place / "pytorch_model.bin").write_bytes(b"")
    assert adapter_place(tmp_path) is None


def test_an_adapter_beside_a_whole_model_is_refused(tmp_path: Path) -> None:
    """Nobody says whether it is merged with the weights already."""
    adapter(tmp_path)
    with pytest.raises(UnsupportedModelError, match="both") as caught:
        refuse_adapter(tmp_path, "me/model")
    assert "--adapter ./FOLDER" in caught.value.hint


#: As jina-embeddings-v3-hf and jina-embeddings-v5-text-small store their tasks.
JINA_V3 = (
    "config.json",
    "retrieval_query/adapter_config.json",
    "text_matching/adapter_config.json",
)
JINA_V5 = ("adapters/retrieval/adapter_config.json", "adapters/text-matching/adapter_config.json")


@pytest.mark.parametrize(
    ("files", "name", "place"),
    [
        (JINA_V3, "retrieval.query", "retrieval_query"),
        (JINA_V3, "retrieval_query", "retrieval_query"),
        (JINA_V3, "text-matching", "text_matching"),
        (JINA_V5, "retrieval", "adapters/retrieval"),
        (JINA_V5, "Text-Matching", "adapters/text-matching"),
        (JINA_V5, "separation", None),
        (JINA_V5, "adapters", None),
        (("adapter_config.json",), "", None),
    ],
)
def test_adapters_of_a_model_have_the_names_of_their_folders(
    files: tuple[str, ...], name: str, place: str | None
) -> None:
    assert own_place(name, own_places(files)) == place


def test_two_adapters_of_one_name_are_not_guessed_between() -> None:
    places = own_places([*JINA_V5, "old/retrieval/adapter_config.json"])
    with pytest.raises(UsageError, match="several such folders"):
        own_place("retrieval", places)


def test_local_adapters_are_found_like_those_on_the_hub(tmp_path: Path) -> None:
    for place in ("retrieval_query", "adapters/retrieval", "a/b/c"):
        adapter(tmp_path / place)
    assert own_places(local_files(tmp_path)) == ("adapters/retrieval", "retrieval_query")


def test_of_two_formats_one_is_needed() -> None:
    files = [
        "x/adapter_config.json",
        "x/adapter_model.bin",
        "x/adapter_model.safetensors",
        "x/y.bin",
    ]
    assert needed_of_adapter("x", files) == {"x/adapter_config.json", "x/adapter_model.safetensors"}
    assert needed_of_adapter("x", files[:2]) == set(files[:2])


def resolved(folder: Path, place: str = "") -> None:
    resolve_adapter(folder, place, name="me/lora", revision=None, weight=1.0)


def test_a_folder_without_an_adapter_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"is no adapter: it has no adapter_config\.json"):
        resolved(tmp_path)


@pytest.mark.parametrize("content", [None, b"", b"version https://git-lfs.github.com/spec/v1\n"])
def test_an_adapter_with_broken_tensors_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    weights = adapter(tmp_path) / "adapter_model.safetensors"
    weights.unlink() if content is None else weights.write_bytes(content)
    with pytest.raises(SourceError, match=r"adapter_model.safetensors"):
        resolved(tmp_path)


def test_an_adapter_may_not_be_a_link_to_elsewhere(tmp_path: Path) -> None:
    elsewhere = adapter(tmp_path / "elsewhere")
    folder = adapter(tmp_path / "adapter")
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.safetensors").symlink_to(elsewhere / "adapter_model.safetensors")
    with pytest.raises(SourceError, match="outside the model's folder"):
        resolved(folder)
