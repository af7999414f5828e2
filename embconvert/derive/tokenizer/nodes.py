"""Builds small ONNX graphs node by node."""

from collections.abc import Sequence
from typing import Any

#: The domain of onnxruntime-extensions.
EXTENSIONS = "ai.onnx.contrib"
_ML = "ai.onnx.ml"
#: Operator sets that the nodes are written for, by domain.
OPSETS = {"": 17, _ML: 2, EXTENSIONS: 1}

#: The name of a value.
Value = str


class Nodes:
    """The onnx.NodeProtos of one graph, in order, and the prefix of their names."""

    def __init__(self, prefix: str = "text.") -> None:
        self.made: list[Any] = []
        self.prefix = prefix

    def add(self, operator: str, *inputs: Value, domain: str = "", **attributes: Any) -> Value:
        """Adds a node and returns its output."""
        return self.several(operator, *inputs, outputs=1, domain=domain, **attributes)[0]

    def several(
        self, operator: str, *inputs: Value, outputs: int, domain: str = "", **attributes: Any
    ) -> list[Value]:
        """Adds a node and returns its outputs."""
        from onnx import helper

        name = f"{self.prefix}{len(self.made)}.{operator}"
        names = [name, *(f"{name}.{number}" for number in range(1, outputs))]
        self.made.append(
            helper.make_node(operator, inputs, names, name=name, domain=domain, **attributes)
        )
        return names

    def extension(self, operator: str, *inputs: Value, **attributes: Any) -> Value:
        """Adds a node of onnxruntime-extensions and returns its output."""
        return self.add(operator, *inputs, domain=EXTENSIONS, **attributes)

    def number(self, value: int) -> Value:
        """Adds an int64 scalar."""
        return self.add("Constant", value_int=value)

    def numbers(self, values: Sequence[int]) -> Value:
        """Adds an int64 vector."""
        from onnx import TensorProto, helper

        return self.add(
            "Constant", value=helper.make_tensor("", TensorProto.INT64, [len(values)], values)
        )

    def text(self, value: str) -> Value:
        """Adds a vector of one text."""
        return self.texts([value])

    def texts(self, values: Sequence[str]) -> Value:
        """Adds a vector of texts, with bytes that need not be UTF-8."""
        return self.add("Constant", value_strings=[value.encode() for value in values])

    def flag(self, value: bool) -> Value:
        """Adds a vector of one bool."""
        from onnx import TensorProto, helper

        return self.add("Constant", value=helper.make_tensor("", TensorProto.BOOL, [1], [value]))

    def whole(self, value: Value) -> Value:
        """Casts to int64."""
        from onnx import TensorProto

        return self.add("Cast", value, to=TensorProto.INT64)
