"""Infers the contents of small tensors of numbers and sizes."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from embconvert.rewrite.sizes import Size

if TYPE_CHECKING:
    import onnx_ir as ir

    from embconvert.rewrite.known import Known

#: Maximum elements of a tensor whose content is inferred.
SMALL = 64
#: Slice's ends from here on mean "to the end".
FAR = 2**31 - 1


def as_sizes(array: Any) -> Any:
    """Returns integers as sizes."""
    sizes = np.empty(array.shape, dtype=object)
    for place, number in np.ndenumerate(array):
        sizes[place] = Size.of(int(number))
    return sizes


def shape_content(facts: "Known", node: "ir.Node") -> Any:
    """Returns the output of a Shape, or None."""
    shape = facts.shape(node.inputs[0])
    if shape is None:
        return None
    start = node.attributes.get_int("start", 0)
    end = node.attributes.get_int("end", len(shape))
    content = np.empty(len(shape), dtype=object)
    content[:] = shape
    return content[start:end]


def constant_content(facts: "Known", node: "ir.Node") -> Any:
    """Returns the content of a Constant, or None if it is large."""
    del facts
    for name, attribute in node.attributes.items():
        if name == "value":
            array = attribute.as_tensor().numpy()
        elif name in ("value_int", "value_ints"):
            array = np.asarray(attribute.value, np.int64)
        elif name in ("value_float", "value_floats"):
            array = np.asarray(attribute.value, np.float32)
        else:
            return None
        if array.size > SMALL:
            return None
        return as_sizes(array) if array.dtype.kind in "iu" else np.array(array, dtype=object)
    return None


def _contents_of(facts: "Known", node: "ir.Node", *indices: int) -> list[Any]:
    contents = [facts.content(node.inputs[i]) for i in indices]
    if any(content is None for content in contents):
        raise ValueError("unknown")
    return contents


def _numbers(array: Any) -> Any:
    """Returns sizes as int64, to use as indices; raises ValueError for symbolic ones."""
    numbers = [item.number if isinstance(item, Size) else None for item in array.flat]
    if None in numbers:
        raise ValueError("depends on an axis")
    return np.array(numbers, np.int64).reshape(array.shape)


def _cast_content(facts: "Known", node: "ir.Node") -> Any:
    import onnx_ir as ir

    (content,) = _contents_of(facts, node, 0)
    kind = ir.DataType(node.attributes.get_int("to", 0))
    if kind.is_integer():
        if all(isinstance(item, Size) for item in content.flat):
            return content
        return as_sizes(np.array(content.tolist()).astype(kind.numpy()))
    numbers = _plain(content)
    return (
        np.array(numbers.astype(kind.numpy()), dtype=object) if kind.is_floating_point() else None
    )


def _plain(content: Any) -> Any:
    """Returns content as plain numbers; raises ValueError for symbolic sizes."""
    if all(isinstance(item, Size) for item in content.flat):
        return _numbers(content)
    return np.array(content.tolist())


def _binary(operation: Callable[[Any, Any], Any]) -> Callable[["Known", "ir.Node"], Any]:
    def content(facts: "Known", node: "ir.Node") -> Any:
        a, b = _contents_of(facts, node, 0, 1)
        if not all(isinstance(item, Size) for item in (*a.flat, *b.flat)):
            raise ValueError("not of sizes")
        a, b = np.broadcast_arrays(a, b)
        result = np.empty(a.shape, dtype=object)
        for place in np.ndindex(a.shape):
            result[place] = operation(a[place], b[place])
        return result

    return content


def _equal(a: Size, b: Size) -> bool:
    difference = a - b
    if difference.number is not None:
        return difference.number == 0
    if difference.positive or (-difference).positive:
        return False
    raise ValueError("unknown")


def _where_content(facts: "Known", node: "ir.Node") -> Any:
    condition, yes, no = _contents_of(facts, node, 0, 1, 2)
    condition, yes, no = np.broadcast_arrays(condition, yes, no)
    result = np.empty(condition.shape, dtype=object)
    for place in np.ndindex(condition.shape):
        result[place] = yes[place] if condition[place] else no[place]
    return result


def _gather_content(facts: "Known", node: "ir.Node") -> Any:
    data, indices = _contents_of(facts, node, 0, 1)
    return np.asarray(
        np.take(data, _numbers(indices), axis=node.attributes.get_int("axis", 0)), dtype=object
    )


def _slice_content(facts: "Known", node: "ir.Node") -> Any:
    data, starts, ends = _contents_of(facts, node, 0, 1, 2)
    if data.ndim != 1:
        raise ValueError("not a vector")
    step = 1
    if len(node.inputs) > 4:
        (steps,) = _contents_of(facts, node, 4)
        step = int(_numbers(steps)[0])
    start, end = int(_numbers(starts)[0]), int(_numbers(ends)[0])
    return data[start : None if end <= -FAR else end : step]


def _concat_content(facts: "Known", node: "ir.Node") -> Any:
    return np.concatenate(
        _contents_of(facts, node, *range(len(node.inputs))),
        axis=node.attributes.get_int("axis", 0),
    )


def _reshaped_content(facts: "Known", node: "ir.Node") -> Any:
    (content,) = _contents_of(facts, node, 0)
    shape = facts.shape(node.outputs[0])
    if shape is None or any(size.number is None for size in shape):
        raise ValueError("unknown")
    return content.reshape([size.number for size in shape])


def _filled_content(facts: "Known", node: "ir.Node") -> Any:
    (shape,) = _contents_of(facts, node, 0)
    sizes = _numbers(shape)
    if math.prod(map(int, sizes)) > SMALL:
        return None
    attribute = node.attributes.get("value")
    fill: Any = 0.0 if attribute is None else attribute.as_tensor().numpy().item()
    integer = attribute is not None and attribute.as_tensor().dtype.is_integer()
    result = np.empty(sizes, dtype=object)
    result.fill(Size.of(fill) if integer else fill)
    return result


def _same_content(facts: "Known", node: "ir.Node") -> Any:
    return _contents_of(facts, node, 0)[0]


CONTENTS: dict[str, Callable[["Known", "ir.Node"], Any]] = {
    **dict.fromkeys(("Unsqueeze", "Squeeze", "Reshape"), _reshaped_content),
    "Shape": shape_content, "Constant": constant_content, "Identity": _same_content,
    "Cast": _cast_content, "Gather": _gather_content, "Slice": _slice_content,
    "Concat": _concat_content, "ConstantOfShape": _filled_content, "Where": _where_content,
    "Add": _binary(lambda a, b: a + b), "Sub": _binary(lambda a, b: a - b),
    "Mul": _binary(lambda a, b: a * b), "Div": _binary(lambda a, b: a // b),
    "Equal": _binary(_equal),
}  # fmt: skip
