"""Whatever a field of a graph says, reading it ends with a graph whose weights are whole, or
with an error that says what is wrong.

A few hundred graphs in CI; `make fuzz` feeds them for an hour.
"""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto

from embconvert.errors import SourceError, UnsupportedModelError
from embconvert.graph.given import check_given
from embconvert.graph.onnx_file import read_artifact, read_model
from support import graph_corpus as corpus

fuzz = settings(
    max_examples=int(os.environ.get("EMBCONVERT_FUZZ_EXAMPLES", "150")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

_ODD_NUMBERS = (-(1 << 31), -1, 0, 1, 2, 7, 10, 16, 17, 22, 99, (1 << 31) - 1)
_ODD_LONG = (*_ODD_NUMBERS, -(1 << 63), 1 << 40, (1 << 63) - 1)
_NAMES = ("", "matrix", "table", "found", "product", "input_ids", "F0", "own", "Loop", "\x1b[31m")


def rich_graph() -> ModelProto:
    """A graph with most of what ONNX knows: functions, loops, typed and raw data, attributes."""
    model = corpus.good_graph()
    corpus.good_function(model)
    model.graph.node[-2].output[0] = model.graph.node[-1].input[0] = "multiplied"
    corpus.looping(trips=3)(model)
    typed = TensorProto(name="typed", data_type=TensorProto.FLOAT, dims=[2], float_data=[1, 2])
    packed = TensorProto(name="packed", data_type=TensorProto.UINT4, dims=[3], raw_data=b"\1\2")
    model.graph.initializer.extend([typed, packed])
    return model


RICH = rich_graph().SerializeToString()


def messages(message: Any) -> list[Any]:
    """Returns a message and all that are inside of it."""
    found = [message]
    for field, value in message.ListFields():
        if field.message_type is not None:
            inner = value if field.is_repeated else [value]
            found += [each for item in inner for each in messages(item)]
    return found


def scalar(draw: st.DrawFn, field: Any) -> Any:
    """Draws what a field takes."""
    if field.type == field.TYPE_BYTES:
        return draw(st.binary(max_size=20))
    if field.enum_type is not None:
        return draw(st.sampled_from(sorted(field.enum_type.values_by_number)))
    values: dict[int, Any] = {
        field.CPPTYPE_INT32: _ODD_NUMBERS,
        field.CPPTYPE_INT64: _ODD_LONG,
        field.CPPTYPE_UINT64: [n for n in _ODD_LONG if n >= 0],
        field.CPPTYPE_FLOAT: [0.0, -1.5, float("inf"), float("nan")],
        field.CPPTYPE_DOUBLE: [0.0, -1.5, float("inf"), float("nan")],
        field.CPPTYPE_STRING: _NAMES,
    }
    return draw(st.sampled_from(values[field.cpp_type]))


def mutate(draw: st.DrawFn, model: ModelProto) -> None:
    """Changes one field somewhere in a model."""
    message = draw(st.sampled_from(messages(model)))
    field = draw(st.sampled_from(list(message.DESCRIPTOR.fields)))
    value = getattr(message, field.name)
    act = draw(st.integers(0, 3))
    if act == 0:
        message.ClearField(field.name)
    elif field.is_repeated and len(value) and act == 1:
        del value[draw(st.integers(0, len(value) - 1))]
    elif field.is_repeated and field.message_type is not None:
        # Once more what is there, or an empty one.
        value.add().MergeFrom(value[0]) if len(value) else value.add()
    elif field.is_repeated:
        value.append(scalar(draw, field))
    elif field.message_type is not None:
        value.SetInParent()
    else:
        setattr(message, field.name, scalar(draw, field))


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    model = ModelProto.FromString(RICH)
    for _ in range(draw(st.integers(1, 4))):
        mutate(draw, model)
    return bytes(model.SerializeToString())


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def test_the_graph_itself_is_read(scratch: Path) -> None:
    """Else all that is made of it might be refused for one reason."""
    path = scratch / "good.onnx"
    path.write_bytes(RICH)
    check_given(path)
    assert read_artifact(path).operators["Loop"] == 1


@fuzz
@given(mutated())
def test_a_mutated_graph_is_read_whole_or_refused(scratch: Path, content: bytes) -> None:
    path = scratch / "graph.onnx"
    path.write_bytes(content)
    try:
        check_given(path)
        read_artifact(path)
    except (SourceError, UnsupportedModelError) as error:
        assert error.hint
        return
    except ValueError as error:
        assert str(error)
        return
    for value in read_model(path).graph.initializers.values():
        assert value.const_value is not None
        assert value.const_value.numpy().shape == tuple(value.const_value.shape.numpy())
