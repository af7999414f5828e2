"""Functions of a model's Python files are replaced for a time, and come back."""

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from embconvert.export.model_files import replaced_in_files


@pytest.fixture
def file() -> Iterator[ModuleType]:
    made = ModuleType("modeling_made_up")
    vars(made)["scan"] = len
    sys.modules[made.__name__] = made
    yield made
    del sys.modules[made.__name__]


def model_in(file: ModuleType) -> Any:
    part = type("Layer", (), {"__module__": file.__name__})()
    return type("Model", (), {"modules": lambda _: [part]})()


def test_a_function_of_the_file_comes_back_after_an_error(file: ModuleType) -> None:
    with pytest.raises(KeyError), replaced_in_files(model_in(file), {"scan": max, "other": max}):
        assert vars(file)["scan"] is max
        assert "other" not in vars(file)
        raise KeyError
    assert vars(file)["scan"] is len


def test_a_built_in_function_is_hidden_for_the_time_only(file: ModuleType) -> None:
    with replaced_in_files(model_in(file), {"min": max}, also_built_in=True):
        assert vars(file)["min"] is max
    assert "min" not in vars(file)
