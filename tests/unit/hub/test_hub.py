"""What is found is told."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from embconvert.console import Console
from embconvert.hub import resolve
from embconvert.models.choices import Command
from embconvert.request.records import Request
from support.examples import TOKENIZER


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
