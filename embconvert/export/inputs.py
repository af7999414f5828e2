"""Gives a graph the inputs that its client sends."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from embconvert.errors import UsageError
from embconvert.models.choices import OFFSETS, TOKEN_TYPES, Inputs

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch


def settle_inputs(
    model: "ir.Model", features: "dict[str, torch.Tensor]", inputs: Inputs | None
) -> None:
    """Removes or adds token_type_ids, which some clients never send, and others always.

    Without the input, every token has type 0; an added one is not used.

    Args:
        features: What the graph was traced with; name to (batch, seq).
        inputs: The client's; None leaves them as they are.

    Raises:
        UsageError: The model reads types other than 0, or needs another input.
    """
    if inputs is None:
        return
    if inputs is Inputs.IN_A_ROW:
        _take_a_row(model)
        return
    others = set(features) - set(inputs.names) - {TOKEN_TYPES}
    if others:
        raise UsageError(
            f"the model also reads {', '.join(sorted(others))}, so --inputs {inputs} is not enough",
            "remove --inputs",
        )
    has_types = any(value.name == TOKEN_TYPES for value in model.graph.inputs)
    if has_types and TOKEN_TYPES not in inputs.names:
        if bool(features[TOKEN_TYPES].any()):
            raise UsageError(
                f"the model tells texts apart by {TOKEN_TYPES}, which --inputs {inputs} omits",
                f"write --inputs {Inputs.WITH_TYPES}, or remove --inputs",
            )
        _remove_types(model)
    elif not has_types and TOKEN_TYPES in inputs.names:
        _add_types(model)


def _take_a_row(model: "ir.Model") -> None:
    """Replaces padded inputs, (batch, seq), by a row of all tokens and where each text begins.

    What follows stays as it is: the first nodes make the padded ones of them.
    """
    import onnx_ir as ir
    import onnx_ir.passes.common as passes

    padded, mask = (_input(model, name) for name in ("input_ids", "attention_mask"))
    kind = padded.type
    padded.name = "padded_input_ids"
    row = ir.Value(name="input_ids", shape=ir.Shape(["tokens"]), type=kind)
    starts = ir.Value(name=OFFSETS, shape=ir.Shape(["batch"]), type=kind)
    nodes: list[ir.Node] = []

    def node(operator: str, *values: ir.Value | None, **attributes: int) -> ir.Value:
        made = ir.node(operator, list(values), attributes=attributes, name=f"row_{len(nodes)}")
        made.outputs[0].name = f"row_{len(nodes)}_output"
        nodes.append(made)
        return made.outputs[0]

    def constant(*numbers: int, is_scalar: bool = False) -> ir.Value:
        array = np.array(numbers[0] if is_scalar else numbers, np.int64)
        return _initializer(model, f"row_constant_{len(model.graph.initializers)}", array)

    zero, one, last = constant(0), constant(1), constant(np.iinfo(np.int64).max)
    count = node("Shape", row)
    ends = node("Concat", node("Slice", starts, one, last, zero), count, axis=0)
    lengths = node("Sub", ends, starts)
    longest = node("ReduceMax", lengths, keepdims=0)
    first, step = constant(0, is_scalar=True), constant(1, is_scalar=True)
    places = node("Unsqueeze", node("Range", first, longest, step), zero)
    is_token = node("Less", places, node("Unsqueeze", lengths, one))
    where = node("Min", node("Add", places, node("Unsqueeze", starts, one)), count)
    # A token more, so that there is one for the places behind the last.
    ids = node("Gather", node("Concat", row, zero, axis=0), where, axis=0)
    for old, new in ((padded, ids), (mask, node("Cast", is_token, to=ir.DataType.INT64.value))):
        new.type, new.shape = old.type, old.shape
        old.replace_all_uses_with(new)
        model.graph.inputs.remove(old)
    for made in reversed(nodes):
        model.graph.insert_before(model.graph[0], made)
    model.graph.inputs.extend([row, starts])
    passes.RemoveUnusedNodesPass()(model)


def _initializer(model: "ir.Model", name: str, array: "npt.NDArray[np.int64]") -> "ir.Value":
    import onnx_ir as ir

    tensor = ir.tensor(array, name=name)
    value = ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype))
    value.const_value = tensor
    model.graph.initializers[name] = value
    return value


def _remove_types(model: "ir.Model") -> None:
    import onnx_ir as ir
    import onnx_ir.passes.common as passes

    types, ids = (_input(model, name) for name in (TOKEN_TYPES, "input_ids"))
    zeros = ir.node("Sub", [ids, ids], name="no_token_types")
    model.graph.insert_before(model.graph[0], zeros)
    types.replace_all_uses_with(zeros.outputs[0])
    zeros.outputs[0].type, zeros.outputs[0].shape = types.type, types.shape
    model.graph.inputs.remove(types)
    passes.RemoveUnusedNodesPass()(model)


def _add_types(model: "ir.Model") -> None:
    import onnx_ir as ir

    ids = _input(model, "input_ids")
    model.graph.inputs.append(ir.Value(name=TOKEN_TYPES, shape=ids.shape, type=ids.type))


def _input(model: "ir.Model", name: str) -> "ir.Value":
    return next(value for value in model.graph.inputs if value.name == name)
