"""The keyword arguments of the API: the options of the command line, with types.

`tests/unit/api/test_options.py` compares names and types with the table of options.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypedDict

from embconvert.errors import UsageError
from embconvert.models.choices import Command
from embconvert.request.folder_options import (
    EVALUATE_OPTIONS,
    VERIFY_OPTIONS,
    make_evaluate_request,
    make_verify_request,
)
from embconvert.request.options import Group, Option, options_of
from embconvert.request.parsing import make_request, parse_options, understood, word_of
from embconvert.request.records import EvaluateRequest, Request, VerifyRequest
from embconvert.request.usual_names import nearest_option

StrPath = str | os.PathLike[str]
Say = Callable[[str], None]


class ConvertOptions(TypedDict, total=False):
    """The options of `convert`; those of `embconvert all` that are not about its output."""

    output_parent_dir: StrPath | None
    revision: str | None
    task: str | None
    route: str | None
    reranker_template: str | None
    adapter: str | Sequence[str] | None
    opset: int | None
    device: str | None
    optimize: int | None
    quantize: str | Sequence[str] | None
    per_channel: bool | None
    reduce_range: bool | None
    recipes: str | Sequence[str] | None
    table_bits: int | None
    calibration_method: str | None
    quant_format: str | None
    min_onnxruntime: str | None
    operators: str | None
    calibration_dataset: StrPath | None
    min_cosine: float | None
    min_neighbours: float | None
    max_size: str | None
    min_speedup: float | None
    evaluate: StrPath | None
    max_loss: float | None
    pooling: str | None
    normalize: bool | None
    dimensions: int | None
    force_dimensions: bool | None
    output: str | None
    inputs: str | None
    output_precision: str | None
    layout: str | None
    shape: str | Sequence[str] | None
    format: str | Sequence[str] | None
    tokenizer: str | None
    skip_shape_inference: bool | None
    skip_validation: bool | None
    no_float32: bool | None
    full_validation: bool | None
    max_graph_seconds: int | None
    trust_remote_code: bool | None
    cache_dir: StrPath | None
    offline: bool | None


class EvaluateOptions(TypedDict, total=False):
    """The options of `evaluate`; those of `embconvert evaluate` that are not about its output."""

    data: StrPath | None
    files: str | Sequence[str] | None
    against: StrPath | None
    adapter: str | Sequence[str] | None
    trust_remote_code: bool | None
    output: StrPath | None
    max_graph_seconds: int | None
    cache_dir: StrPath | None
    offline: bool | None


class VerifyOptions(TypedDict, total=False):
    """The options of `verify`; those of `embconvert verify` that are not about its output."""

    against: StrPath | None
    adapter: str | Sequence[str] | None
    min_cosine: float | None
    trust_remote_code: bool | None
    max_graph_seconds: int | None
    cache_dir: StrPath | None
    offline: bool | None


def _of_the_api(options: Iterable[Option]) -> dict[str, Option]:
    """Returns the options that are keyword arguments, by name.

    `no_per_channel` is `per_channel=False` in Python; what a command prints is no part of the API.
    """
    return {
        option.name: option
        for option in options
        if option.request_field == option.name and option.group is not Group.OUTPUT
    }


#: The options of convert(), without the model, of verify() and of evaluate(), by name.
CONVERT = {
    name: option
    for name, option in _of_the_api(options_of(Command.ALL).values()).items()
    if name != "model_id"
}
VERIFY = _of_the_api(VERIFY_OPTIONS)
EVALUATE = _of_the_api(EVALUATE_OPTIONS)


def conversion_request(
    model_id: StrPath, options: ConvertOptions, say: Say = lambda _: None
) -> Request:
    """Returns the request of convert(); `say` is told what was read as another value.

    Raises UsageError for a value, TypeError for an unknown option.
    """
    known = options_of(Command.ALL)
    words = {"model_id": os.fspath(model_id), **_words("convert", CONVERT, options, say)}
    return make_request(Command.ALL, parse_options(known.values(), words))


def verify_request(
    folder: StrPath, options: VerifyOptions, say: Say = lambda _: None
) -> VerifyRequest:
    """Returns the request of verify(); raises as conversion_request()."""
    fields = parse_options(VERIFY.values(), _words("verify", VERIFY, options, say))
    return make_verify_request(operands=(os.fspath(folder),), **fields)


def evaluate_request(
    folder: StrPath, options: EvaluateOptions, say: Say = lambda _: None
) -> EvaluateRequest:
    """Returns the request of evaluate(); raises as conversion_request()."""
    fields = parse_options(EVALUATE.values(), _words("evaluate", EVALUATE, options, say))
    return make_evaluate_request(operands=(os.fspath(folder),), **fields)


def _words(
    function: str, known: Mapping[str, Option], options: Mapping[str, Any], say: Say
) -> dict[str, str]:
    """Returns values as on the command line, whose parsers check them."""
    words = {}
    for name, value in options.items():
        if name not in known:
            near = nearest_option(name, known)
            raise TypeError(
                f"{function}() got an unexpected keyword argument {name!r}"
                + (f"; did you mean {near!r}?" if near else "")
            )
        is_list = isinstance(value, list | tuple)
        if is_list and not known[name].several:
            raise UsageError(f"{name} needs one value", f"write {name}={value[:1]!r} without []")
        # An empty list of precisions is what code makes that has none to ask for.
        if value is None or (name == "quantize" and is_list and not value):
            continue
        words[name] = word_of(tuple(value) if is_list else value)
        remark = understood(known[name], words[name])
        if remark is not None:
            say(remark)
    return words
