"""Weights with which adapters are merged when they are used.

Like half-precision weights (stored_weights), they keep what the files have, here the base model's
weight and an adapter's two small matrices: all merged weights at once would take the memory of a
float32 model.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from embconvert.graph.source_tensors import LowRankUpdate, WeightLocation, place_of, transposed
from embconvert.processes.mappings import MappedRange

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Update:
    """What an adapter adds to a weight: the product of two small matrices (LoRA).

    Attributes:
        down: (rank, inputs), as in the adapter's file.
        up: (outputs, rank), as in the adapter's file.
        is_transposed: Whether the weight is stored as (inputs, outputs), as embeddings are.
        magnitude: The norms of the rows of the sum (DoRA), (outputs,); None leaves them.
    """

    down: "torch.Tensor"
    up: "torch.Tensor"
    scale: float
    is_transposed: bool = False
    magnitude: "torch.Tensor | None" = None

    def added_to(self, stored: "torch.Tensor") -> "torch.Tensor":
        """Returns a weight with the update in float32; see PEFT 0.21, tuners/lora/layer.py."""
        import torch

        product = self.up.float() @ self.down.float()
        total = (product.T if self.is_transposed else product).mul_(self.scale).add_(stored)
        if self.magnitude is not None:
            norms = torch.linalg.norm(total, dim=1)
            total.mul_((self.magnitude.float() / norms)[:, None])
        return total

    def place(self, files: Sequence[MappedRange]) -> LowRankUpdate | None:
        """Returns where its matrices are; None if they are not mapped from a file."""
        factors = (self.down.T, self.up.T) if self.is_transposed else (self.up, self.down)
        left, right = (_place_of_matrix(factor, files) for factor in factors)
        magnitude = None if self.magnitude is None else place_of(self.magnitude, files)
        if left is None or right is None or (magnitude is None) is not (self.magnitude is None):
            return None
        return LowRankUpdate(left=left, right=right, scale=self.scale, magnitude=magnitude)


def _place_of_matrix(matrix: "torch.Tensor", files: Sequence[MappedRange]) -> WeightLocation | None:
    """Returns where a matrix is in a file, in which its axes may be the other way round."""
    found = place_of(matrix, files)
    return found if found is not None else transposed(place_of(matrix.T, files), (1, 0))


class MergedWeight:
    """A weight and its updates, with the part of a tensor's interface that weights need."""

    def __init__(self, stored: "torch.Tensor", updates: Sequence[Update]) -> None:
        self.stored = stored
        self.updates = tuple(updates)

    @property
    def shape(self) -> Any:
        return self.stored.shape

    @property
    def ndim(self) -> int:
        return len(self.stored.shape)

    @property
    def device(self) -> Any:
        return self.stored.device

    def detach(self) -> "MergedWeight":
        return self

    def __getitem__(self, rows: Any) -> "torch.Tensor":
        return self.float()[rows]

    def float(self) -> "torch.Tensor":
        """Returns the merged weight in float32, which is computed each time."""
        merged = self.stored
        for update in self.updates:
            merged = update.added_to(merged)
        return merged

    def rows(self, lookup: Any, *arguments: Any, **named: Any) -> "torch.Tensor":
        """Returns rows of the merged weight in float32, (..., columns), without the others.

        `lookup` is aten's embedding, whose arguments follow the table.
        """
        found: torch.Tensor = lookup(self.stored, *arguments, **named).float()
        for update in self.updates:
            if not update.is_transposed:
                whole: torch.Tensor = lookup(self.float(), *arguments, **named)
                return whole
            rows = lookup(update.down.float().T.contiguous(), *arguments, **named)
            found = found + rows @ update.up.float().T * update.scale
        return found

    def place(self, files: Sequence[MappedRange]) -> WeightLocation | None:
        """Returns where it and its updates are; None if they are not mapped from files."""
        stored = place_of(self.stored, files)
        updates = [update.place(files) for update in self.updates]
        if stored is None or None in updates:
            return None
        return replace(stored, updates=tuple(update for update in updates if update is not None))
