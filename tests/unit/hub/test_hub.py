"""A model id is a folder or a name on the hub."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from embconvert.console import Console
from embconvert.errors import UsageError
from embconvert.hub import local_folder, resolve
from embconvert.models.choices import Command
from embconvert.request.records import Request
from support.examples import TOKENIZER


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


@pytest.mark.parametrize("is_trusted", [False, True])
def test_code_for_the_tokenizer_that_is_not_run_is_told(
    is_trusted: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    named = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["tok.Own", None]}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(named))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "tokenizer.json").write_text(TOKENIZER)
    save_file({"weight": np.zeros((4, 4), np.float32)}, tmp_path / "model.safetensors")
    request = Request(command=Command.EXPORT, model_id=str(tmp_path), trust_remote_code=is_trusted)
    resolve(request, Console(quiet=True, debug=False))
    told = 'names the model\'s own code for its tokenizer, "tok.Own"' in capfd.readouterr().err
    assert told is not is_trusted
