"""The list of a model's modules."""

import pytest

from embconvert.errors import SourceError
from embconvert.source.settings.module_list import parse_modules


def test_module_paths_are_relative_to_the_model() -> None:
    (module,) = parse_modules([{"path": "1_Pooling/", "type": "a.Pooling", "idx": 1}])
    assert (module.path, module.name) == ("1_Pooling", "Pooling")


def test_modules_of_one_name_are_refused() -> None:
    """sentence-transformers would load the last of them, in the place of the first."""
    entries = [
        {"idx": n, "name": name, "path": "", "type": f"a.{name}{n}"}
        for n, name in enumerate(("transformer", "dense", "dense"))
    ]
    with pytest.raises(SourceError, match="two modules with the name 'dense'"):
        parse_modules(entries)
