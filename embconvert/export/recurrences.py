"""Traces recurrences over tokens as ONNX's Scan.

transformers computes them in Python loops over the tokens, or over chunks of them. A trace would
repeat the loop's body as often as the traced text has tokens, and be right for no other length.
Here they become a node of their own, which `expand_recurrences` replaces by a Scan. It computes
token by token: chunks would need the inverse of a triangular matrix, which ONNX does not have, and
whose power series is not accurate for texts that repeat a token.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from embconvert.export.model_files import replaced_in_files

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
#: The body of each kind of node, and the axis of the tokens in each input and in the output.
_BODIES = {
    "SelectiveScan": (_SELECTIVE_SCAN, (2, 2, 1), 2),
    "DeltaRule": (_DELTA_RULE, (1, 1, 1, 1, 1), 1),
}


@contextlib.contextmanager
def recurrences_as_nodes(model: "torch.nn.Module") -> Iterator[None]:
    """Replaces transformers' functions inside the block, in the files of a model's modules."""
    ours: dict[str, Callable[..., Any]] = {
        "mamba_selective_scan": _selective_scan,
        "torch_chunk_gated_delta_rule": _gated_delta_rule,
        "chunk_kimi_delta_attention": _gated_delta_rule,
    }
    with replaced_in_files(model, ours):
        yield


def expand_recurrences(model: "ir.Model") -> None:
    """Replaces the nodes of a traced graph by Scans."""
    import onnx.parser
    import onnx_ir as ir

    version = model.opset_imports[""]
    for node in [node for node in model.graph if node.domain == _DOMAIN]:
        text, axes, output_axis = _BODIES[node.op_type]
        head = f'<ir_version: 8, opset_import: ["": {version}]>\n'
        body = ir.from_proto(onnx.parser.parse_model(head + text)).graph
        scan = ir.node(
            "Scan",
            node.inputs,
            attributes={
                "body": body,
                "num_scan_inputs": len(axes),
                "scan_input_axes": axes,
                "scan_output_axes": (output_axis,),
            },
            num_outputs=2,
        )
        model.graph.insert_before(node, scan)
        output, found = node.outputs[0], scan.outputs[1]
        found.name, found.shape, found.type = output.name, output.shape, output.type
        scan.outputs[0].name = f"{output.name}_state"
        output.replace_all_uses_with(found, replace_graph_outputs=True)
        model.graph.remove(node)
    model.opset_imports.pop(_DOMAIN, None)


def _node(kind: str, *inputs: "torch.Tensor", like: "torch.Tensor") -> "torch.Tensor":
    """Returns zeros like `like`, traced as a node of a kind of _BODIES."""
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


def _selective_scan(
    hidden_states: "torch.Tensor",
    dt: "torch.Tensor",
    A: "torch.Tensor",  # noqa: N803 - transformers' names
    B: "torch.Tensor",  # noqa: N803
    C: "torch.Tensor",  # noqa: N803
    D: "torch.Tensor | None" = None,  # noqa: N803
    z: "torch.Tensor | None" = None,
    delta_bias: "torch.Tensor | None" = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
    **_: Any,
) -> Any:
    """Computes the recurrence of Mamba, as transformers' function of the same name.

    Args:
        hidden_states, dt, z: (batch, channels, seq).
        A: (channels, states).
        B, C: (batch, states, seq).
        D, delta_bias: (channels).
    """
    from torch.nn import functional

    if delta_bias is not None:
        dt = dt + delta_bias[..., None]
    if delta_softplus:
        dt = functional.softplus(dt)
    steps = dt[:, :, :, None]
    decay = (A[None, :, None, :] * steps).exp()
    update = steps * B.transpose(1, 2)[:, None] * hidden_states[:, :, :, None]
    start = decay.new_zeros(decay.shape[0], *A.shape)
    inputs = (start, decay, update, C.transpose(1, 2))
    scanned = _node("SelectiveScan", *inputs, like=hidden_states)
    if D is not None:
        scanned = scanned + hidden_states * D[None, :, None]
    if z is not None:
        scanned = scanned * functional.silu(z)
    return (scanned, start) if return_last_state else scanned


def _gated_delta_rule(
    query: "torch.Tensor",
    key: "torch.Tensor",
    value: "torch.Tensor",
    g: "torch.Tensor",
    beta: "torch.Tensor",
    use_qk_l2norm_in_kernel: bool = False,
    **_: Any,
) -> "tuple[torch.Tensor, None]":
    """Computes the gated delta rule, as transformers' functions that chunk the tokens.

    Args:
        query, key: (batch, seq, heads, keys); several heads of values may share one.
        value: (batch, seq, heads, values).
        g: The logarithm of the decay, (batch, seq, heads), or (batch, seq, heads, keys).
        beta: (batch, seq, heads).
    """
    shared = value.shape[2] // key.shape[2]
    if int(shared) > 1:
        query, key = (x.repeat_interleave(int(shared), dim=2) for x in (query, key))
    if use_qk_l2norm_in_kernel:
        query, key = (x * (x.pow(2).sum(-1, keepdim=True) + 1e-6).rsqrt() for x in (query, key))
    query = query * query.shape[-1] ** -0.5
    decay = (g if g.dim() == 4 else g.unsqueeze(-1)).exp()
    start = key.new_zeros(key.shape[0], key.shape[2], key.shape[3], value.shape[3])
    inputs = (start, query, key, value, decay, beta.unsqueeze(-1))
    return _node("DeltaRule", *inputs, like=value), None
