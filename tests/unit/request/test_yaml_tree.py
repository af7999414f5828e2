"""YAML with the place of each value."""

from hypothesis import given
from hypothesis import strategies as st

from embconvert.request.yaml_tree import NotYamlError, parse_yaml


@given(st.text(max_size=40) | st.sampled_from(["models: [", "{", "- ", "models:\n"]))
def test_any_text_is_a_tree_or_a_place_with_a_problem(text: str) -> None:
    try:
        parse_yaml(text)
    except NotYamlError as error:
        assert error.place.line >= 1
        assert str(error)
