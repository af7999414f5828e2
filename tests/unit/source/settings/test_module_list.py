"""The list of a model's modules."""

from embconvert.source.settings.module_list import parse_modules


def test_module_paths_are_relative_to_the_model() -> None:
    (module,) = parse_modules([{"path": "1_Pooling/", "type": "a.Pooling", "idx": 1}])
    assert (module.path, module.name) == ("1_Pooling", "Pooling")
