"""Half-precision weights and arithmetic, float32 at the inputs and outputs.

Only the body of the transformer becomes half precision: what stands between the embedding table
and the last hidden state. Masks, positions and pooling carry few bytes and large numbers (half
precision counts exactly to 2048 and ends at 65504), so they stay float32.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from embconvert.graph.hollow import fill, hollow_out
from embconvert.graph.onnx_file import read_model
from embconvert.kinds import TOKEN_LOGITS, TOKENS_OUTPUT
from embconvert.model import KeptNode
from embconvert.quantize.half_range import out_of_range
from embconvert.quantize.settings import QuantizeSettings

if TYPE_CHECKING:
    import onnx_ir as ir

# Masks add float32's lowest number, which is minus infinity in half precision, and a fully masked
# row of those is not a number. This is what onnxconverter-common clips weights to as well.
_LOWEST = -1e4

_INT64_RESULTS = {"Shape", "Size", "NonZero", "ArgMax", "ArgMin"}
_BOOL_RESULTS = {
    "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Not", "Xor",
    "IsNaN", "IsInf",
}  # fmt: skip
# The operators whose type is not that of their first input, and the input that it is of.
_TYPED_BY = {"Where": 1, "OneHot": 2}


def float16(path: Path, settings: QuantizeSettings) -> "ir.Model":
    """Float16, by onnxconverter-common."""
    import onnx
    from onnxconverter_common.float16 import convert_float_to_float16

    model, weights = hollow_out(read_model(path))
    _raise_lowest_constants(model)
    outputs = _detach_outputs(model)
    types = _element_types(model)
    _note_types(model, types)
    body = _body(model, types)
    loud = out_of_range(model, weights, types, body, settings.mapping_folder(path), settings)
    if loud:
        settings.warn(
            f"Float16: {len(loud)} nodes stay float32, because their values leave half precision's "
            f"range: {', '.join(sorted(loud)[:5])}{', ...' if len(loud) > 5 else ''}; "
            "the manifest and the report name them all"
        )
        reason = "its values leave half precision's range"
        for node in model.graph.node:
            if node.name in loud:
                operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
                settings.keep(KeptNode(node=node.name, operator=operator, reason=reason))
        body -= loud
    _separate_constants(model, weights, body)
    for node in model.graph.node:
        if node.op_type == "Cast" and node.name in body:
            for attribute in node.attribute:
                if attribute.i == onnx.TensorProto.FLOAT:
                    attribute.i = onnx.TensorProto.FLOAT16
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one for each tensor with a number near zero
        converted = convert_float_to_float16(
            model,
            keep_io_types=True,
            # It fails on models over 2 GB and on fused operators; the types are noted above.
            disable_shape_infer=True,
            check_fp16_ready=False,  # the boundary's casts look like it
            node_block_list=[n.name for n in model.graph.node if n.name not in body | outputs],
        )
    _drop_round_trips(converted, body)
    return fill(converted, weights)


def _raise_lowest_constants(model: Any) -> None:
    from onnx import TensorProto, numpy_helper

    tensors = [a.t for n in model.graph.node if n.op_type == "Constant" for a in n.attribute]
    for tensor in [*tensors, *model.graph.initializer]:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims, dtype=int) > 1:
            continue
        value = numpy_helper.to_array(tensor)
        if value.size and value.min() < -6e4:
            tensor.CopyFrom(numpy_helper.from_array(np.maximum(value, _LOWEST), tensor.name))


def _detach_outputs(model: Any) -> set[str]:
    """Puts an Identity before each output, so that the converter's cast there is always due.

    It takes the node before an output for one that became half precision. Returns the names of
    the new nodes; every node gets a name on the way.
    """
    from onnx import helper

    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"node_{number}"
    names = set()
    for output in model.graph.output:
        inner = f"{output.name}_float16_boundary"
        for node in model.graph.node:
            for strings in (node.input, node.output):
                for index, name in enumerate(strings):
                    if name == output.name:
                        strings[index] = inner
        name = f"{output.name}_boundary"
        model.graph.node.append(helper.make_node("Identity", [inner], [output.name], name))
        names.add(name)
    return names


def _element_types(model: Any) -> dict[str, int]:
    """Returns the element type of every value of the main graph.

    Rules instead of shape inference, which knows no fused operators: nearly every operator's
    first output has the type of its first input.
    """
    from onnx import TensorProto

    types = {t.name: t.data_type for t in model.graph.initializer}
    types |= {i.name: i.type.tensor_type.elem_type for i in model.graph.input}
    for node in model.graph.node:
        attributes = {a.name: a for a in node.attribute}
        if node.op_type == "Cast":
            kind = attributes["to"].i
        elif node.op_type in _INT64_RESULTS:
            kind = TensorProto.INT64
        elif node.op_type in _BOOL_RESULTS:
            kind = TensorProto.BOOL
        elif "value" in attributes:
            kind = attributes["value"].t.data_type
        elif node.op_type == "ConstantOfShape":
            kind = TensorProto.FLOAT
        else:
            index = _TYPED_BY.get(node.op_type, 0)
            kind = types.get(node.input[index], 0) if len(node.input) > index else 0
        types |= dict.fromkeys(filter(None, node.output), kind)
        if node.op_type == "TopK":
            types[node.output[1]] = TensorProto.INT64
    return types


def _note_types(model: Any, types: dict[str, int]) -> None:
    """Writes the types where the converter looks for them, without shapes."""
    from onnx import TensorProto, helper

    del model.graph.value_info[:]
    made = [name for node in model.graph.node for name in node.output if name]
    outputs = {o.name for o in model.graph.output}
    model.graph.value_info.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        for name in made
        if types[name] == TensorProto.FLOAT and name not in outputs
    )


def _body(model: Any, types: dict[str, int]) -> set[str]:
    """Returns the names of the nodes from the embedding table to the last hidden state.

    What is computed from the shape of a hidden state, as relative positions, is not of the body.
    """
    from onnx import TensorProto

    weights = {t.name for t in model.graph.initializer if len(t.dims) >= 2}
    nodes = list(model.graph.node)
    floats = {name for name, kind in types.items() if kind == TensorProto.FLOAT}
    fed = _reached(nodes, weights & floats, floats, forward=True)
    made = {name for node in nodes for name in node.output}
    outputs = [output.name for output in model.graph.output]
    last = next(name for name in (TOKENS_OUTPUT, TOKEN_LOGITS, *outputs) if name in made)
    feeding = _reached(nodes, {last}, floats, forward=False)
    return {n.name for n in nodes if n.name in fed and n.name in feeding}


def _separate_constants(
    model: Any, weights: "dict[str, ir.TensorProtocol]", body: set[str]
) -> None:
    """Gives what stays float32 its own copy of the constants that it shares with the body."""
    users: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    for tensor in list(model.graph.initializer):
        outside = [n for n in users.get(tensor.name, ()) if n.name not in body]
        if not outside or len(outside) == len(users[tensor.name]):
            continue
        copy = model.graph.initializer.add()
        copy.CopyFrom(tensor)
        copy.name = f"{tensor.name}_float32"
        if tensor.name in weights:
            weights[copy.name] = weights[tensor.name]
        for node in outside:
            node.input[:] = [copy.name if n == tensor.name else n for n in node.input]


def _reached(
    nodes: Sequence[Any], values: set[str], through: set[str], *, forward: bool
) -> set[str]:
    """Returns the names of the nodes that depend on the values, or that these depend on.

    Args:
        nodes: In topological order.
        values: Where to start.
        through: The values that a dependency may run through.
        forward: Whether to look for what depends on the values.
    """
    reached: set[str] = set()
    known = set(values)
    for node in nodes if forward else reversed(nodes):
        near, far = (node.input, node.output) if forward else (node.output, node.input)
        if known & set(near):
            reached.add(node.name)
            known |= set(far) & through
    return reached


def _drop_round_trips(model: Any, body: set[str]) -> None:
    """Removes a cast to half precision and back where an output was float32 all along."""
    from onnx import TensorProto

    made_by = {name: node for node in model.graph.node for name in node.output}
    for output in model.graph.output:
        back = made_by[output.name]
        identity = made_by.get(back.input[0])
        forth = made_by.get(identity.input[0]) if identity is not None else None
        if forth is None or forth.op_type != "Cast" or forth.name in body:
            continue
        if back.op_type == "Cast" and forth.attribute[0].i == TensorProto.FLOAT16:
            back.op_type = "Identity"
            del back.attribute[:]
            back.input[0] = forth.input[0]
