"""A model id is a folder or a name on the hub."""

from pathlib import Path

import pytest

from embconvert.errors import UsageError
from embconvert.request.places import is_hub_id, local_folder, repository_name


@pytest.mark.parametrize("model_id", ["../../nowhere", "/nowhere/at/all", "a/b/c", "a b", "~"])
def test_what_is_neither_a_folder_nor_a_hub_id_is_refused(model_id: str) -> None:
    if model_id == "~":
        assert local_folder(model_id) == Path.home()
        return
    with pytest.raises(UsageError, match="no folder of that name, and it is not a hub id"):
        local_folder(model_id)


def test_a_folder_with_a_similar_name_is_suggested(tmp_path: Path) -> None:
    (tmp_path / "my-model").mkdir()
    with pytest.raises(UsageError) as refused:
        local_folder(f"{tmp_path}/my-modle")
    assert refused.value.hint.startswith(f"did you mean {tmp_path}/my-model? check the path")


@pytest.mark.parametrize(
    ("model_id", "hint"),
    [
        ("https://huggingface.co/org/name", "write --model_id org/name"),
        ("hf.co/org/name/tree/main?x=1", "write --model_id org/name"),
        ("org/name@v1.0", "write --model_id org/name --revision v1.0"),
    ],
)
def test_a_hub_id_in_another_form_is_told(model_id: str, hint: str) -> None:
    with pytest.raises(UsageError) as refused:
        local_folder(model_id)
    assert refused.value.hint == hint


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("e5-small_v1.5", "e5-small_v1.5"), ("my model", "my-model"), ("a -. b--c..d", "a-b-c-d"),
        ("-modèle-", "mod-le"), ("模型", "model"), ("n" * 200, "n" * 64),
    ],
)  # fmt: skip
def test_a_folder_has_a_name_that_a_hub_accepts(folder: str, name: str) -> None:
    assert repository_name(folder) == name
    assert is_hub_id(f"YOU/{name}")
