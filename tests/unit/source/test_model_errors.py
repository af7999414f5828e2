"""What the libraries raise because of a model is told as an error of the model."""

from types import SimpleNamespace

import pytest

from embconvert.errors import SourceError
from embconvert.source.model_errors import model_errors, naming_missing_pad_token_id


def transformer(pad_token_id: int | None) -> SimpleNamespace:
    config = SimpleNamespace(pad_token_id=pad_token_id)
    config.get_text_config = lambda: config
    return SimpleNamespace(config=config, tokenizer=SimpleNamespace(pad_token_id=1))


def fail(module: object, error: Exception) -> SourceError:
    """Returns the error about a module that raises one when it is run."""
    with pytest.raises(SourceError) as raised, naming_missing_pad_token_id(module), model_errors():
        raise error
    return raised.value


def test_a_model_that_cannot_run_without_a_pad_token_id_is_told_its_own() -> None:
    for why in ("ne() got (NoneType)", "Cannot handle batches if no padding token is defined."):
        error = fail(transformer(None), TypeError(why))
        assert error.message.startswith("config.json has no pad_token_id")
        assert f"({why})" in error.message
        assert "set pad_token_id to 1 in a copy of config.json" in str(error.hint)


@pytest.mark.parametrize("module", [transformer(0), SimpleNamespace()])
def test_other_models_are_not(module: object) -> None:
    assert "cannot embed a text" in fail(module, TypeError("ne() got (NoneType)")).message


def test_nor_is_an_error_that_has_another_reason() -> None:
    assert "cannot embed a text" in fail(transformer(None), TypeError("no input_ids")).message
