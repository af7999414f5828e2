"""The API takes the options of the command line, under their names and with their types."""

import types
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from embconvert.api.options import (
    CONVERT,
    EVALUATE,
    VERIFY,
    ConvertOptions,
    EvaluateOptions,
    StrPath,
    VerifyOptions,
    conversion_request,
    evaluate_request,
    verify_request,
)
from embconvert.errors import UsageError
from embconvert.models.choices import Command, Layout, OptimizationLevel, Precision
from embconvert.models.recipes import CalibrationMethod
from embconvert.request.options import Group, Option, options_of
from embconvert.request.records import EvaluateRequest, Request, VerifyRequest


@pytest.mark.parametrize(
    ("options", "typed", "record"),
    [
        (CONVERT, ConvertOptions, Request),
        (VERIFY, VerifyOptions, VerifyRequest),
        (EVALUATE, EvaluateOptions, EvaluateRequest),
    ],
    ids=["convert", "verify", "evaluate"],
)
def test_names_and_types_are_those_of_the_command_line(
    options: dict[str, Option], typed: type, record: type
) -> None:
    fields = get_type_hints(record)
    expected = {
        name: given_as(fields[option.request_field]) | None for name, option in options.items()
    }
    # A source is a path or an id.
    expected |= {"against": StrPath | None} if "against" in expected else {}
    assert get_type_hints(typed) == expected


def given_as(field: Any) -> Any:
    """Returns how a caller gives a field of a request: words where it has a type of ours."""
    if get_origin(field) is types.UnionType:
        (field,) = (part for part in get_args(field) if part is not types.NoneType)
    if field in (bool, int, float, str):
        return field
    if field is Path:
        return StrPath
    if get_origin(field) is tuple and get_args(field)[1:] == (...,):
        return str | Sequence[str]
    if isinstance(field, type) and issubclass(field, IntEnum):
        return int
    return str


def test_only_what_a_command_prints_is_left_out() -> None:
    left_out = set(options_of(Command.ALL)) - set(CONVERT)
    printing = {o.name for o in options_of(Command.ALL).values() if o.group is Group.OUTPUT}
    assert left_out - printing == {"model_id", "no_per_channel", "no_reduce_range"}


def test_values_are_those_that_the_words_mean() -> None:
    request = conversion_request(
        Path("my-model"),
        {
            "quantize": ["QInt8Static", "Q4"],
            "optimize": 2,
            "per_channel": False,
            "output_parent_dir": Path("out"),
            "min_onnxruntime": "1.20",
            "min_cosine": 0.98,
            "calibration_method": CalibrationMethod.ENTROPY,
            "layout": "fastembed",
            "revision": None,
        },
    )
    assert request == Request(
        command=Command.ALL,
        model_id="my-model",
        quantize=(Precision.QINT8_STATIC, Precision.Q4),
        optimize=OptimizationLevel.EXTENDED,
        per_channel=False,
        output_parent_dir=Path("out"),
        min_onnxruntime=(1, 20),
        min_cosine=0.98,
        calibration_method=CalibrationMethod.ENTROPY,
        layout=Layout.FASTEMBED,
    )


def test_no_options_are_the_defaults() -> None:
    expected = Request(command=Command.ALL, model_id="a/b")
    assert conversion_request("a/b", {}) == expected == conversion_request("a/b", {"quantize": []})


def test_a_value_that_is_read_as_another_is_said() -> None:
    said: list[str] = []
    request = conversion_request("a/b", {"quantize": ["int8", "Q4"], "layout": "hub"}, said.append)
    assert request.quantize == (Precision.QINT8, Precision.Q4)
    assert said == ["--quantize int8,Q4 is read as QInt8,Q4"]


def test_an_empty_list_of_recipes_is_none_of_them() -> None:
    assert conversion_request("a/b", {"quantize": "Q8", "recipes": []}).recipes == ()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"opset": 3}, "--opset must be between"),
        ({"quantize": ["QInt9"]}, "QInt9"),
        ({"per_channel": "maybe", "quantize": "QInt8"}, "--per_channel cannot be 'maybe'"),
        ({"min_cosine": 0.9}, "--min_cosine has no effect without --quantize"),
        ({"device": ["cpu"]}, "device needs one value"),
        ({"dimensions": 2.5}, "--dimensions must be a whole number"),
    ],
)
def test_a_bad_value_is_an_error_of_usage(options: Any, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        conversion_request("a/b", options)
    assert problem in caught.value.message


@pytest.mark.parametrize("name", ["quantise", "json", "no_per_channel"])
def test_an_unknown_option_is_an_error_of_type(name: str) -> None:
    options: Any = {name: True}
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
        conversion_request("a/b", options)


def test_the_request_of_a_check() -> None:
    request = verify_request(Path("out/my-model"), {"against": Path("my-model"), "min_cosine": 0.9})
    assert request == VerifyRequest(folder=Path("out/my-model"), against="my-model", min_cosine=0.9)
    with pytest.raises(UsageError, match="no effect without --against"):
        verify_request("out/my-model", {"min_cosine": 0.9})


def test_the_request_of_an_evaluation() -> None:
    request = evaluate_request("out/m", {"data": Path("scifact"), "files": ["QInt8", "Q8"]})
    assert request == EvaluateRequest(
        folders=(Path("out/m"),), data=Path("scifact"), files=("QInt8", "Q8")
    )
    with pytest.raises(UsageError, match="--data is missing"):
        evaluate_request("out/m", {})
