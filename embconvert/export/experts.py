"""Traces a mixture of experts as plain operators.

transformers multiplies by all experts at once (`grouped_mm`), which ONNX cannot express. Here each
expert multiplies the tokens that are routed to it, by matrices of its own that all quantizers see,
and the graph computes no more than the model does.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from embconvert.export.model_files import LIBRARY

if TYPE_CHECKING:
    import torch

# What transformers' decorator for experts, `use_experts_implementation`, says of a module.
_DECLARED = ("has_gate", "has_bias", "has_post_expert_norm", "is_transposed", "num_experts")


@contextlib.contextmanager
def one_expert_at_a_time(model: "torch.nn.Module") -> Iterator[None]:
    """Replaces the computation of experts inside the block, of transformers and of remote code."""
    replaced = []
    for part in model.modules():
        ours = _LOOPS.get(type(part).__name__)
        if ours is _dbrx and not type(part).__module__.startswith(LIBRARY):
            ours = None  # Databricks' own code has a class of this name with other arguments
        if ours is None and all(hasattr(part, name) for name in _DECLARED):
            ours = _forward
        if ours is not None:
            part.forward = functools.partial(ours, part)
            replaced.append(part)
    try:
        yield
    finally:
        for part in replaced:
            del part.forward


def _forward(
    experts: Any,
    hidden_states: "torch.Tensor",
    top_k_index: "torch.Tensor",
    top_k_weights: "torch.Tensor",
) -> "torch.Tensor":
    """Returns the weighted sum of each token's experts, (tokens, hidden).

    Args:
        experts: transformers' module, with the weights of all experts in each parameter.
        hidden_states: (tokens, hidden).
        top_k_index: Each token's experts, (tokens, k). The number of experts stands for none.
        top_k_weights: Their weights, (tokens, k).
    """
    compute = functools.partial(_one_expert, experts)
    return _routed(hidden_states, top_k_index, top_k_weights, experts.num_experts, compute)


def _nomic(
    experts: Any,
    x: "torch.Tensor",
    weights: "torch.Tensor",
    top_weights: "torch.Tensor",
    top_experts: "torch.Tensor",
) -> "torch.Tensor":
    """As forward() of nomic-bert's NomicExperts, whose loop leaves out experts without a token.

    Their matrices are below each other in one, and a bias is added to the sum.
    """
    del weights
    part, count = experts.mlp, experts.moe_num_experts

    def compute(expert: int, states: "torch.Tensor") -> "torch.Tensor":
        first, second = (
            # A size of a weight is a number, not to be traced.
            w.view(count, -1, int(w.shape[-1]))[expert]
            for w in (part.w1, part.w2)
        )
        activated: torch.Tensor = part.activation_fn(states @ first.t())
        return activated @ second

    states = x.reshape(-1, x.shape[-1])
    mixed = _routed(states, top_experts, top_weights, count, compute).reshape(x.shape)
    return mixed if getattr(experts, "bias", None) is None else mixed + experts.bias


def _dbrx(
    experts: Any,
    hidden_states: "torch.Tensor",
    top_k_index: "torch.Tensor",
    top_k_weights: "torch.Tensor",
) -> "torch.Tensor":
    """As forward() of DbrxExperts, whose matrices are below each other in one."""
    part, count = experts.mlp, experts.num_experts

    def compute(expert: int, states: "torch.Tensor") -> "torch.Tensor":
        gate, up, down = (
            w.view(count, -1, int(w.shape[-1]))[expert] for w in (part.w1, part.v1, part.w2)
        )
        activated: torch.Tensor = part.activation_fn(states @ gate.t()) * (states @ up.t())
        return activated @ down

    states = hidden_states.reshape(-1, hidden_states.shape[-1])
    mixed = _routed(states, top_k_index, top_k_weights, count, compute)
    return mixed.reshape(hidden_states.shape)


def _longcat(
    experts: Any,
    hidden_states: "torch.Tensor",
    top_k_index: "torch.Tensor",
    top_k_weights: "torch.Tensor",
) -> "torch.Tensor":
    """As forward() of LongcatFlashExperts, whose last experts return what they get."""
    from torch.nn import functional

    def compute(expert: int, states: "torch.Tensor") -> "torch.Tensor":
        if experts.gate_up_proj is None or expert >= experts.num_routed_experts:
            return states
        gate, up = functional.linear(states, experts.gate_up_proj[expert]).chunk(2, dim=-1)
        return functional.linear(experts.act_fn(gate) * up, experts.down_proj[expert])

    return _routed(hidden_states, top_k_index, top_k_weights, experts.total_experts, compute)


def _switch(
    experts: Any,
    hidden_states: "torch.Tensor",
    selected_experts: "torch.Tensor",
    routing_weights: "torch.Tensor",
) -> "torch.Tensor":
    """As forward() of SwitchTransformersExperts, of which a token has one, or none.

    `selected_experts` is 1 for a token's expert, (tokens, 1, experts); `routing_weights` (tokens,
    1).
    """
    count = experts.num_experts
    chosen = selected_experts[:, 0].argmax(dim=-1, keepdim=True)
    has_one = selected_experts[:, 0].sum(dim=-1, keepdim=True)
    index = chosen * has_one + count * (1 - has_one)

    def compute(expert: int, states: "torch.Tensor") -> "torch.Tensor":
        made: torch.Tensor = experts[f"expert_{expert}"](states)
        return made

    return _routed(hidden_states, index, routing_weights, count, compute)


# Loops over experts, by the name of the class, which may be in the model's own code.
_LOOPS: dict[str, Callable[..., "torch.Tensor"]] = {
    "DbrxExperts": _dbrx,
    "LongcatFlashExperts": _longcat,
    "NomicExperts": _nomic,
    "SwitchTransformersExperts": _switch,
}


def _routed(
    states: "torch.Tensor",
    top_k_index: "torch.Tensor",
    top_k_weights: "torch.Tensor",
    count: int,
    compute: "Callable[[int, torch.Tensor], torch.Tensor]",
) -> "torch.Tensor":
    """As _forward(), where `compute` returns what an expert makes of the tokens routed to it."""
    import torch

    tokens, top_k = top_k_index.shape
    chosen = top_k_index.reshape(-1)
    rows, results = [], []
    for expert in range(count):
        # Rows of (tokens * k): a token comes once for each of its experts.
        of_expert = torch.nonzero(chosen == expert)[:, 0]
        rows.append(of_expert)
        results.append(compute(expert, states[of_expert // top_k]))
    result = torch.cat(results)
    spread = result.new_zeros(tokens * top_k, result.shape[-1])
    spread = spread.index_put((torch.cat(rows),), result)
    weighted = spread.reshape(tokens, top_k, -1) * top_k_weights.unsqueeze(-1)
    return weighted.sum(dim=1).to(states.dtype)


def _one_expert(experts: Any, expert: int, states: "torch.Tensor") -> "torch.Tensor":
    if experts.has_gate:
        states = experts._apply_gate(_project(experts, "gate_up_proj", expert, states))
    else:
        states = experts.act_fn(_project(experts, "up_proj", expert, states))
    states = _project(experts, "down_proj", expert, states)
    return experts.post_expert_norm(states) if experts.has_post_expert_norm else states


def _project(experts: Any, name: str, expert: int, states: "torch.Tensor") -> "torch.Tensor":
    weight = getattr(experts, name)[expert]
    states = states @ (weight if experts.is_transposed else weight.t())
    return states + getattr(experts, f"{name}_bias")[expert] if experts.has_bias else states
