"""Recurrences over tokens as ONNX's Scan.

While a model is traced, a recurrence is a node of its own, made by `scan_node`, which
`expand_scans` replaces afterwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch

_DOMAIN = "embconvert"
# The state is (batch, channels, states); of each token `decay` and `update` are of the same shape,
# `read` is (batch, states), and the output is (batch, channels).
_SELECTIVE_SCAN = """
body (float[b, c, s] state, float[b, c, s] decay, float[b, c, s] update, float[b, s] read)
    => (float[b, c, s] next, float[b, c] output)
{
    kept = Mul(decay, state)
    next = Add(kept, update)
    middle = Constant<value_ints = [1]>()
    columns = Unsqueeze(read, middle)
    products = Mul(next, columns)
    last = Constant<value_ints = [-1]>()
    output = ReduceSum<keepdims = 0>(products, last)
}"""
# The state is (batch, heads, keys, values). The delta rule replaces, by the share `beta`, what the
# state holds for a key by a value: (batch, heads, keys), (batch, heads, values); `decay` is
# (batch, heads, keys or 1).
_DELTA_RULE = """
body (float[b, h, k, v] state, float[b, h, k] query, float[b, h, k] key, float[b, h, v] value,
      float[b, h, d] decay, float[b, h, 1] beta)
    => (float[b, h, k, v] next, float[b, h, v] output)
{
    last = Constant<value_ints = [-1]>()
    rows = Constant<value_ints = [-2]>()
    decays = Unsqueeze(decay, last)
    kept = Mul(state, decays)
    keys = Unsqueeze(key, last)
    at_keys = Mul(kept, keys)
    held = ReduceSum<keepdims = 0>(at_keys, rows)
    missing = Sub(value, held)
    delta = Mul(missing, beta)
    deltas = Unsqueeze(delta, rows)
    change = Mul(keys, deltas)
    next = Add(kept, change)
    queries = Unsqueeze(query, last)
    at_queries = Mul(next, queries)
    output = ReduceSum<keepdims = 0>(at_queries, rows)
}"""
# All are (batch, channels); the output of a token is the state after it.
_LINEAR = """
body (float[b, c] state, float[b, c] decay, float[b, c] update)
    => (float[b, c] next, float[b, c] output)
{
    kept = Mul(decay, state)
    next = Add(kept, update)
    output = Identity(next)
}"""
# RWKV's mean of the values of the tokens so far, each weighted by e^key, times e^decay for each
# token since. The states are its numerator and denominator, divided by e^top, which keeps them
# small. `own` is the key that a token has for itself. All are (batch, channels).
_WEIGHTED_MEAN = """
body (float[b, c] above, float[b, c] below, float[b, c] top, float[b, c] key, float[b, c] own,
      float[b, c] value, float[b, c] decay)
    => (float[b, c] next_above, float[b, c] next_below, float[b, c] next_top, float[b, c] output)
{
    highest = Max(top, own)
    lower = Sub(top, highest)
    past = Exp(lower)
    own_lower = Sub(own, highest)
    present = Exp(own_lower)
    past_above = Mul(past, above)
    present_above = Mul(present, value)
    numerator = Add(past_above, present_above)
    past_below = Mul(past, below)
    denominator = Add(past_below, present)
    output = Div(numerator, denominator)
    decayed = Add(top, decay)
    next_top = Max(decayed, key)
    decayed_lower = Sub(decayed, next_top)
    kept = Exp(decayed_lower)
    key_lower = Sub(key, next_top)
    added = Exp(key_lower)
    kept_above = Mul(kept, above)
    added_above = Mul(added, value)
    next_above = Add(kept_above, added_above)
    kept_below = Mul(kept, below)
    next_below = Add(kept_below, added)
}"""
# xLSTM's matrix memory. The states are the memory (batch, heads, keys, values), the sum of its keys
# (batch, heads, keys), both divided by e^top, and `top` (batch, heads, 1). `forget` and `insert`
# are logarithms, (batch, heads, 1). The output is what the memory holds for a query, with the
# number to divide it by as the last of its values.
_MATRIX_MEMORY = """
body (float[b, h, k, v] memory, float[b, h, k] sum, float[b, h, 1] top, float[b, h, k] query,
      float[b, h, k] key, float[b, h, v] value, float[b, h, 1] forget, float[b, h, 1] insert)
    => (float[b, h, k, v] next_memory, float[b, h, k] next_sum, float[b, h, 1] next_top,
        float[b, h, w] output)
{
    last = Constant<value_ints = [-1]>()
    rows = Constant<value_ints = [-2]>()
    decayed = Add(forget, top)
    next_top = Max(decayed, insert)
    decayed_lower = Sub(decayed, next_top)
    kept = Exp(decayed_lower)
    insert_lower = Sub(insert, next_top)
    added = Exp(insert_lower)
    kept_sum = Mul(kept, sum)
    added_key = Mul(added, key)
    next_sum = Add(kept_sum, added_key)
    kept_column = Unsqueeze(kept, last)
    kept_memory = Mul(kept_column, memory)
    key_column = Unsqueeze(added_key, last)
    value_row = Unsqueeze(value, rows)
    added_memory = Mul(key_column, value_row)
    next_memory = Add(kept_memory, added_memory)
    query_column = Unsqueeze(query, last)
    at_query = Mul(next_memory, query_column)
    held = ReduceSum<keepdims = 0>(at_query, rows)
    sum_at_query = Mul(next_sum, query)
    signed = ReduceSum<keepdims = 1>(sum_at_query, last)
    size = Abs(signed)
    negative = Neg(next_top)
    least = Exp(negative)
    divisor = Max(size, least)
    output = Concat<axis = -1>(held, divisor)
}"""


@dataclass(frozen=True, kw_only=True)
class _Recurrence:
    """A recurrence.

    Attributes:
        body: One step, as text of ONNX: its inputs are the states and what is read of a token; its
            outputs are the next states and the output of the token.
        axes: The axis of the tokens in each input after the states.
        output_axis: That in the output.
    """

    body: str
    axes: Sequence[int]
    output_axis: int


_KINDS = {
    "SelectiveScan": _Recurrence(body=_SELECTIVE_SCAN, axes=(2, 2, 1), output_axis=2),
    "DeltaRule": _Recurrence(body=_DELTA_RULE, axes=(1, 1, 1, 1, 1), output_axis=1),
    "Linear": _Recurrence(body=_LINEAR, axes=(1, 1), output_axis=1),
    "WeightedMean": _Recurrence(body=_WEIGHTED_MEAN, axes=(1, 1, 1, 1), output_axis=1),
    "MatrixMemory": _Recurrence(body=_MATRIX_MEMORY, axes=(2, 2, 2, 2, 2), output_axis=2),
}


def scan_node(kind: str, *inputs: "torch.Tensor", like: "torch.Tensor") -> "torch.Tensor":
    """Returns zeros of the shape of `like`, traced as a node of a kind of _KINDS.

    Args:
        inputs: The states before the first token, and what is read of the tokens.
    """
    import torch

    class Node(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, *inputs: "torch.Tensor") -> "torch.Tensor":
            del ctx
            return torch.zeros_like(inputs[-1])

        @staticmethod
        def symbolic(g: Any, *inputs: Any) -> Any:
            # The shape of the last input is all that counts of it.
            return g.op(f"{_DOMAIN}::{kind}", *inputs[:-1]).setType(inputs[-1].type())

    traced: torch.Tensor = Node.apply(*inputs, like)
    return traced


def expand_scans(model: "ir.Model") -> None:
    """Replaces the nodes of a traced graph by Scans."""
    import onnx.parser
    import onnx_ir as ir

    version = model.opset_imports[""]
    for node in [node for node in model.graph if node.domain == _DOMAIN]:
        kind = _KINDS[node.op_type]
        head = f'<ir_version: 8, opset_import: ["": {version}]>\n'
        body = ir.from_proto(onnx.parser.parse_model(head + kind.body)).graph
        states = len(node.inputs) - len(kind.axes)
        scan = ir.node(
            "Scan",
            node.inputs,
            attributes={
                "body": body,
                "num_scan_inputs": len(kind.axes),
                "scan_input_axes": kind.axes,
                "scan_output_axes": (kind.output_axis,),
            },
            num_outputs=states + 1,
        )
        model.graph.insert_before(node, scan)
        output, found = node.outputs[0], scan.outputs[-1]
        found.name, found.shape, found.type = output.name, output.shape, output.type
        for number, state in enumerate(scan.outputs[:-1]):
            state.name = f"{output.name}_state{number or ''}"
        output.replace_all_uses_with(found, replace_graph_outputs=True)
        model.graph.remove(node)
    model.opset_imports.pop(_DOMAIN, None)
