"""Heads over token vectors: linear layers with files of their own, such as BGE-M3's.

Each is there twice: in numpy, as the model's card describes it, for the reference; and in torch,
for the trace. Source: FlagEmbedding 1.3, inference/embedder/encoder_only/m3.py and
finetune/embedder/encoder_only/m3/modeling.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embconvert.errors import SourceError
from embconvert.fidelity.figures import FloatArray
from embconvert.models.kinds import KINDS, Head
from embconvert.models.values import ResolvedModel
from embconvert.source.stand_ins import mapped_tensors
from embconvert.source.stored_weights import present_as_float32
from embconvert.source.weights import refuse_unreadable

if TYPE_CHECKING:
    import torch

IntArray = npt.NDArray[np.int64]

#: The special tokens that have no weight, by the tokenizers' names.
_WEIGHTLESS = ("cls_token_id", "eos_token_id", "pad_token_id", "unk_token_id")
#: The smallest norm by which torch divides.
_SMALLEST_NORM = 1e-12


@dataclass(frozen=True, kw_only=True)
class LinearHead:
    """A head with its weights.

    Attributes:
        weight: As stored, (out, hidden).
        bias: As stored, (out,); None if there is none.
    """

    head: Head
    weight: "torch.Tensor"
    bias: "torch.Tensor | None"

    @property
    def size(self) -> int:
        """Numbers per token."""
        return int(self.weight.shape[0])

    def of(self, tokens: FloatArray) -> FloatArray:
        """Returns the layer's result, (tokens, size), of token vectors, (tokens, hidden)."""
        product: FloatArray = tokens @ self.weight.float().numpy().T
        return product if self.bias is None else product + self.bias.float().numpy()


def load_heads(resolved: ResolvedModel, hidden: int | None) -> tuple[LinearHead, ...]:
    """Maps the heads that a model has from their files; nothing in these is executed.

    Raises SourceError if a file is not a linear layer over vectors of that size, if known.
    """
    known = KINDS[resolved.kind].heads
    return tuple(
        _load(resolved, head, hidden) for head in known if head.file in resolved.head_files
    )


def _load(resolved: ResolvedModel, head: Head, hidden: int | None) -> LinearHead:
    refuse_unreadable(resolved.path(head.file))
    tensors = mapped_tensors([resolved.path(head.file)])
    weight, bias = tensors.get("weight"), tensors.get("bias")
    if weight is None or not set(tensors) <= {"weight", "bias"} or weight.ndim != 2:
        problem = f"it has {', '.join(sorted(tensors)) or 'no tensors'}"
    elif not all(tensor.is_floating_point() for tensor in tensors.values()):
        problem = "its numbers are integers"
    elif hidden is not None and weight.shape[1] != hidden:
        problem = f"it is for vectors of {weight.shape[1]} numbers, but the model has {hidden}"
    elif bias is not None and bias.shape != weight.shape[:1]:
        problem = "its bias has another size than its weight"
    elif not weight.any():
        problem = "its weights are all zero"
    elif head.is_weight and weight.shape[0] != 1:
        problem = f"it gives {weight.shape[0]} numbers per token, not one weight"
    else:
        return LinearHead(head=head, weight=weight, bias=bias)
    raise SourceError(
        f"{head.file} is not a linear layer over this model's token vectors: {problem}",
        "download the model again; or convert it without its heads, by --task sentence-similarity",
    )


def weightless_ids(tokenizer: Any) -> tuple[int, ...]:
    """Returns the ids of special tokens that have no weight."""
    found = (getattr(tokenizer, name, None) for name in _WEIGHTLESS)
    return tuple(sorted({int(number) for number in found if number is not None}))


def weights_of(
    head: LinearHead, tokens: FloatArray, ids: IntArray, *, without: Sequence[int]
) -> FloatArray:
    """Returns the weight of each token, (tokens,) float32: relu, and 0 for the ids `without`.

    `tokens` are the model's vectors of a text without padding, (tokens, hidden).
    """
    weights: FloatArray = np.maximum(head.of(tokens)[:, 0], 0.0)
    return np.where(np.isin(ids, without), np.float32(0.0), weights)


def vectors_of(head: LinearHead, tokens: FloatArray) -> FloatArray:
    """Returns each token's L2-normalized vector but the first's, (tokens - 1, size) float32."""
    vectors = head.of(tokens[1:])
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    normalized: FloatArray = vectors / np.maximum(norms, _SMALLEST_NORM)
    return normalized


def heads_module(heads: Sequence[LinearHead], without: Sequence[int]) -> "torch.nn.Module":
    """Returns a module that adds the heads' outputs to features, by the names of the outputs.

    What is not a token's own is zero: the weights of padding and of `without`, and the vectors of
    padding and of the first token.
    """
    import torch

    def linear(head: LinearHead) -> torch.nn.Module:
        layer = torch.nn.Linear(1, 1, bias=head.bias is not None, device="meta")
        layer.weight = torch.nn.Parameter(head.weight, requires_grad=False)
        if head.bias is not None:
            layer.bias = torch.nn.Parameter(head.bias, requires_grad=False)
        return layer

    class HeadLayers(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            # By the files' names, which are those of the weights in the graph.
            self.layers = torch.nn.ModuleDict(
                {head.head.file.partition(".")[0]: linear(head) for head in heads}
            )

        def forward(self, features: "dict[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
            ids, mask = features["input_ids"], features["attention_mask"]
            added = {}
            for head, layer in zip(heads, self.layers.values(), strict=True):
                made = layer(features["token_embeddings"])
                if head.head.is_weight:
                    kept = mask
                    for number in without:
                        kept = kept * (ids != number)
                    made = torch.relu(made).squeeze(-1) * kept.to(made.dtype)
                else:
                    # The first one after any padding on the left.
                    kept = mask * (mask.cumsum(dim=1) > 1)
                    made = made * kept.unsqueeze(-1).to(made.dtype)
                    made = torch.nn.functional.normalize(made, dim=-1)
                added[head.head.output] = made
            return {**features, **added}

    module = HeadLayers()
    present_as_float32(module)
    return module
