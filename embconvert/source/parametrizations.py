"""Names of weights that have adapters inside, as torch's parametrizations store them.

Such a weight is three tensors: the weight itself, and the two factors of all tasks' updates.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from embconvert.errors import SourceError

if TYPE_CHECKING:
    import torch

_ORIGINAL = ".parametrizations.weight.original"
#: A factor of the updates of a module's weight. The model's own prefix is left out.
FACTOR = re.compile(
    r"(roberta\.)?(?P<module>.+)\.parametrizations\.weight\.0\.lora_(?P<letter>[AB])"
)


def without_factors(tensors: "Mapping[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
    """Returns the weights of a model without adapters, under their usual names.

    Raises SourceError if a weight is there twice.
    """
    usual: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        if FACTOR.fullmatch(name):
            continue
        known = name.replace(_ORIGINAL, ".weight")
        if known in usual:
            raise SourceError(
                f"the weights have {known[:200]!r} twice: with an adapter inside, and without",
                "download the model again",
            )
        usual[known] = tensor
    return usual
