"""A module that cannot be made for lack of settings: the message names their file."""

from typing import Any

import pytest

from embconvert.source.module_arguments import lacking_settings
from embconvert.source.settings.modules import MODULES

POOLING = TypeError(
    "Pooling.__init__() missing 1 required positional argument: 'embedding_dimension'"
)
DENSE = TypeError(
    "Dense.__init__() missing 2 required positional arguments: 'in_features' and 'out_features'"
)


def settings(**files: Any) -> dict[str, Any]:
    """The settings of a model with two Dense after its pooling, by path; those of some modules."""
    entries = [
        {"path": path, "type": MODULES[name].path}
        for path, name in {"1_Pooling": "Pooling", "2_Dense": "Dense", "3_Dense": "Dense"}.items()
    ]
    return {"modules.json": entries, **{f"{n}/config.json": said for n, said in files.items()}}


def test_a_missing_file_is_named() -> None:
    found = lacking_settings(settings(), POOLING)
    assert found is not None
    assert found.message == (
        "1_Pooling/config.json is missing: the module Pooling needs embedding_dimension"
    )
    assert "all folders" in str(found.hint)


def test_a_file_that_does_not_say_enough_is_named() -> None:
    found = lacking_settings(settings(**{"1_Pooling": {"include_prompt": True}}), POOLING)
    assert found is not None
    assert "1_Pooling/config.json is incomplete" in found.message


def test_of_two_modules_of_a_class_the_one_that_lacks_them_is_named() -> None:
    said = {"in_features": 32, "out_features": 16}
    found = lacking_settings(settings(**{"2_Dense": said}), DENSE)
    assert found is not None
    assert found.message == (
        "3_Dense/config.json is missing: the module Dense needs in_features and out_features"
    )


@pytest.mark.parametrize(
    "error",
    [
        TypeError("unsupported operand"),
        TypeError("LlamaConfig.__init__() missing 1 required positional argument: 'vocab_size'"),
        ValueError(str(POOLING)),
    ],
)
def test_other_errors_are_left_alone(error: Exception) -> None:
    assert lacking_settings(settings(), error) is None


def test_so_are_those_of_a_model_whose_own_code_is_trusted() -> None:
    assert lacking_settings(None, POOLING) is None
