"""JSON that parsers read differently is refused."""

import pytest

from embconvert.errors import SourceError
from embconvert.json_files import parse_json


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ('{"a": 1, "a": 1}', {"a": 1}),
        ('{"a": {"b": 1, "c": [2]}, "a": {"c": [2], "b": 1}}', {"a": {"b": 1, "c": [2]}}),
        ('{"a": {"b": 1}, "c": {"b": 2}}', {"a": {"b": 1}, "c": {"b": 2}}),
    ],
)
def test_a_key_may_have_one_value_twice(content: str, value: object) -> None:
    assert parse_json(content.encode(), "config.json") == value


@pytest.mark.parametrize(
    "content",
    [
        '{"a": 1, "a": 2}', '{"a": 1, "a": 1, "a": 2}', '{"x": [{"a": null, "a": 0}]}',
        '{"a": 1, "a": true}', '{"a": 0, "a": false}', '{"a": 1, "a": 1.0}',
        '{"a": [1], "a": [true]}', '{"a": 1, "\\u0061": 2}',
    ],
)  # fmt: skip
def test_a_key_has_no_two_values(content: str) -> None:
    with pytest.raises(SourceError, match="the key 'a' occurs twice"):
        parse_json(content.encode(), "config.json")
