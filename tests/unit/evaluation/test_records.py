"""The file of evaluations."""

import json

import jsonschema
import pytest

from embconvert.evaluation.records import Evaluations, as_text, parse_evaluations
from support.documents import schema
from support.evaluation import evaluation


def test_what_is_written_is_read_again() -> None:
    whole = Evaluations(evaluations=(evaluation("1" * 64, "2" * 64),))
    assert parse_evaluations(as_text(whole).encode()) == whole


def test_the_schema_is_valid_for_the_file() -> None:
    whole = json.loads(as_text(Evaluations(evaluations=(evaluation("1" * 64),))))
    validator = jsonschema.Draft202012Validator(schema("evaluation"))
    validator.validate(whole)
    whole["evaluations"][0]["graphs"][0]["figures"] = []
    assert not validator.is_valid(whole)


@pytest.mark.parametrize("content", [b"{}", b"[]", b"\xff", b'{"schema_version": 2}'])
def test_another_file_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_evaluations(content)


@pytest.mark.parametrize("name", ["value", "loss", "low", "high"])
def test_a_figure_that_is_none_is_refused(name: str) -> None:
    """Whoever wrote it: a plot of 1e308 points would never end."""
    whole = json.loads(as_text(Evaluations(evaluations=(evaluation("1" * 64),))))
    whole["evaluations"][0]["graphs"][0]["figures"][0][name] = 1e308
    with pytest.raises(ValueError, match=name):
        parse_evaluations(json.dumps(whole).encode())


def test_an_evaluation_replaces_that_of_the_same_data() -> None:
    old, other, new = (
        evaluation("1" * 64),
        evaluation("1" * 64, digest="b" * 64),
        evaluation("2" * 64),
    )
    whole = Evaluations(evaluations=(old, other)).with_newer(new)
    assert whole.evaluations == (other, new)


def test_graphs_that_a_new_evaluation_lacks_are_told() -> None:
    old, other = evaluation("1" * 64, "2" * 64), evaluation("1" * 64, "2" * 64, digest="b" * 64)
    whole = Evaluations(evaluations=(old, other))
    assert whole.dropped_by(evaluation("3" * 64)) == ["onnx/graph1.onnx"]
    assert whole.dropped_by(evaluation("3" * 64, "4" * 64)) == []
