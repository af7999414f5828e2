"""Half-precision weights and arithmetic, float32 at the inputs and outputs.

Only the body of the transformer becomes half precision: what stands between the embedding table
and the last hidden state. Masks, positions and pooling carry few bytes and large numbers (half
precision counts exactly to 2048 and ends at 65504), so they stay float32.
"""

import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embconvert.graph.half_precision import HALF_RANGE
from embconvert.graph.hollow import fill, hollow_out
from embconvert.graph.onnx_file import read_model
from embconvert.models.kinds import TOKEN_LOGITS, TOKENS_OUTPUT
from embconvert.models.values import KeptNode
from embconvert.quantize.element_types import element_types
from embconvert.quantize.observed import peaks, with_raised_lowest
from embconvert.quantize.settings import QuantizeSettings
from embconvert.quantize.surgery import Surgery

if TYPE_CHECKING:
    import onnx_ir as ir

#: The end of a value's name that an output is made of.
_BOUNDARY = "_float16_boundary"


def float16(path: Path, settings: QuantizeSettings) -> "ir.Model":
    """Float16, by onnxconverter-common."""
    import onnx
    from onnxconverter_common.float16 import convert_float_to_float16

    surgery = Surgery(path)
    largest = peaks(surgery, settings)
    hollow, weights = hollow_out(read_model(path))
    model = with_raised_lowest(hollow)
    outputs = _detach_outputs(model)
    types = element_types(model)
    _note_types(model, types)
    body = _body(model, types)
    loud = _out_of_range(model, body, largest, settings.wide)
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
        inner = f"{output.name}{_BOUNDARY}"
        for node in model.graph.node:
            for strings in (node.input, node.output):
                for index, name in enumerate(strings):
                    if name == output.name:
                        strings[index] = inner
        name = f"{output.name}_boundary"
        model.graph.node.append(helper.make_node("Identity", [inner], [output.name], name))
        names.add(name)
    return names


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


def _out_of_range(
    model: Any, body: set[str], largest: Mapping[str, float], wide: Collection[str]
) -> set[str]:
    """Returns the names of the body's nodes that read or make values too large for half precision.

    Of activations half of the range is left to texts that were not seen.

    Args:
        model: Has the nodes.
        body: Names of those to look at.
        largest: The largest absolute values of the body's, by name.
        wide: The weights that are too large.
    """
    loud = set(wide)
    for node in model.graph.node:
        if node.name in body:
            seen = ((name, largest.get(name.removesuffix(_BOUNDARY), 0.0)) for name in node.output)
            loud |= {name for name, value in seen if value > HALF_RANGE / 2}
    return {n.name for n in model.graph.node if loud & {*n.input, *n.output}} & body


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
