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


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder that is found."""
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "tokenizer.json").write_text(TOKENIZER)
    save_file({"weight": np.zeros((4, 4), np.float32)}, tmp_path / "model.safetensors")
    return tmp_path


@pytest.mark.parametrize("is_setfit", [False, True])
def test_a_classifier_of_setfit_that_is_left_out_is_told(
    is_setfit: bool, model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if is_setfit:
        (model / "config_setfit.json").write_text('{"labels": ["a", "b"]}')
    request = Request(command=Command.EXPORT, model_id=str(model))
    resolve(request, Console(quiet=True, debug=False))
    assert ("(model_head.pkl) is left out" in capfd.readouterr().err) is is_setfit


@pytest.mark.parametrize("is_trusted", [False, True])
def test_code_for_the_tokenizer_that_is_not_run_is_told(
    is_trusted: bool, model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    named = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["tok.Own", None]}}
    (model / "tokenizer_config.json").write_text(json.dumps(named))
    request = Request(command=Command.EXPORT, model_id=str(model), trust_remote_code=is_trusted)
    resolve(request, Console(quiet=True, debug=False))
    told = 'names the model\'s own code for its tokenizer, "tok.Own"' in capfd.readouterr().err
    assert told is not is_trusted
