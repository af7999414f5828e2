"""Recurrences over tokens, which transformers computes in Python loops.

The loops run over the tokens, or over chunks of them. A trace would repeat the loop's body as often
as the traced text has tokens, and be right for no other length. Here they become Scans, which
compute token by token: chunks would need the inverse of a triangular matrix, which ONNX does not
have, and whose power series is not accurate for texts that repeat a token.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from embconvert.export.model_files import replaced_in_files, replaced_methods
from embconvert.export.scans import scan_node

if TYPE_CHECKING:
    import torch


@contextlib.contextmanager
def recurrences_as_nodes(model: "torch.nn.Module") -> Iterator[None]:
    """Replaces transformers' functions and methods inside the block."""
    functions: dict[str, Callable[..., Any]] = {
        "mamba_selective_scan": _selective_scan,
        "torch_chunk_gated_delta_rule": _gated_delta_rule,
        "chunk_kimi_delta_attention": _gated_delta_rule,
        "rwkv_linear_attention": _rwkv_attention,
    }
    methods: dict[tuple[str, str], Callable[..., Any]] = {
        ("RecurrentGemmaRglru", "_rnn_scan"): _gated_linear_unit,
        ("xLSTMBackend", "forward"): _matrix_memory,
        ("MiniMaxLightningAttention", "forward"): _lightning_attention,
    }
    with replaced_in_files(model, functions), replaced_methods(model, methods):
        yield


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
    scanned = scan_node("SelectiveScan", *inputs, like=hidden_states)
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
    return scan_node("DeltaRule", *inputs, like=value), None


def _rwkv_attention(
    time_decay: "torch.Tensor",
    time_first: "torch.Tensor",
    key: "torch.Tensor",
    value: "torch.Tensor",
    **_: Any,
) -> "tuple[torch.Tensor, None]":
    """Computes RWKV's mean of earlier values; a state of earlier calls there is none.

    Args:
        time_decay, time_first: (channels).
        key, value: (batch, seq, channels).
    """
    start = key.new_zeros(key.shape[0], key.shape[2])
    decay = (-time_decay.exp()).expand_as(key)
    inputs = (start, start, start - 1e38, key, key + time_first, value, decay)
    return scan_node("WeightedMean", *inputs, like=value), None


def _gated_linear_unit(
    layer: Any,
    hidden_states: "torch.Tensor",
    recurrent_gate: "torch.Tensor",
    reset: "torch.Tensor",
    recurrent_states: "torch.Tensor | None",
    **_: Any,
) -> "tuple[torch.Tensor, torch.Tensor | None]":
    """Computes the recurrence of RecurrentGemma.

    Args:
        hidden_states, recurrent_gate: (batch, seq, channels).
        reset: (1, seq, 1) bool; whether a text begins, which every batch does at its first token.
        recurrent_states: Of an earlier call; returned as it is.
    """
    del layer
    decay = recurrent_gate * reset.logical_not()
    start = hidden_states.new_zeros(hidden_states.shape[0], hidden_states.shape[2])
    inputs = (start, decay, hidden_states)
    return scan_node("Linear", *inputs, like=hidden_states), recurrent_states


def _matrix_memory(
    backend: Any,
    query: "torch.Tensor",
    key: "torch.Tensor",
    value: "torch.Tensor",
    igate: "torch.Tensor",
    fgate: "torch.Tensor",
    **_: Any,
) -> "tuple[torch.Tensor, tuple[torch.Tensor, ...]]":
    """Computes the matrix memory of xLSTM, from an empty one.

    Args:
        query, key: (batch, heads, seq, keys).
        value: (batch, heads, seq, values).
        igate, fgate: (batch, heads, seq).
    """
    import torch

    batch, heads = key.shape[0], key.shape[1]
    states = (
        key.new_zeros(batch, heads, key.shape[3], value.shape[3]),
        key.new_zeros(batch, heads, key.shape[3]),
        key.new_zeros(batch, heads, 1),
    )
    insert, forget = igate[..., None], torch.nn.functional.logsigmoid(fgate)[..., None]
    inputs = (*states, query * query.shape[-1] ** -0.5, key, value, forget, insert)
    like = torch.cat((value, insert), dim=-1)
    found = scan_node("MatrixMemory", *inputs, like=like)
    return found[..., :-1] / (found[..., -1:] + backend.config.eps), states


def _lightning_attention(
    layer: Any, hidden_states: "torch.Tensor", attention_mask: "torch.Tensor | None", **_: Any
) -> "tuple[torch.Tensor, None]":
    """Computes MiniMax's linear attention, in one block instead of blocks of 256 tokens.

    It costs the square of a text's length, as the attention of other layers does.

    Args:
        hidden_states: (batch, seq, hidden).
        attention_mask: (batch, seq), or None.
    """
    import torch

    batch, seq, _hidden = hidden_states.shape
    states = layer.act_fn(layer.qkv_proj(hidden_states))
    if attention_mask is not None:
        states = states * attention_mask[:, :, None].to(states.dtype)
    shape = (batch, seq, layer.num_attention_heads, 3 * layer.head_dim)
    parts = states.reshape(shape).transpose(1, 2).split(layer.head_dim, dim=-1)
    query, key, value = parts
    places = torch.arange(seq, device=states.device)
    distance = places[:, None] - places
    decay = torch.where(distance >= 0, -layer.slope_rate * distance, float("-inf")).exp()
    mixed = (query @ key.transpose(-1, -2) * decay) @ value
    mixed = layer.norm(mixed.transpose(1, 2).reshape(batch, seq, -1))
    return layer.out_proj(layer.output_gate(hidden_states).sigmoid() * mixed), None
