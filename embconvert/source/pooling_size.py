"""The size of the token vectors that a pooling gets, where its settings name another.

sentence-transformers computes with what it gets, but tells programs the size in the settings; so
would a graph.
"""

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def correct_pooling_size(
    chain: Any, features: "Callable[[], dict[str, torch.Tensor]]", warn: Callable[[str], None]
) -> None:
    """Gives each pooling of a chain the size of the vectors that it gets, and says so.

    Args:
        features: Makes those of a few texts, with which the modules before a pooling are run if
            they name another size than it does.
        warn: Is told of a wrong size.
    """
    from sentence_transformers.sentence_transformer.modules import Pooling

    for number, module in enumerate(chain):
        if type(module) is not Pooling or number == 0:  # a subclass may mean another size
            continue
        said = module.embedding_dimension
        if _size_before(chain[number - 1]) in (None, said):
            continue
        size = _measured(list(chain)[:number], features())
        if size == said:
            continue
        chain[number] = Pooling(size, module.pooling_mode, include_prompt=module.include_prompt)
        warn(f"the settings of the pooling name {said} numbers per token, but there are {size}")


def _size_before(module: Any) -> int | None:
    """Returns the size of the token vectors that a module names; None if it names none."""
    with contextlib.suppress(AttributeError, NotImplementedError, TypeError, ValueError):
        return int(module.get_embedding_dimension())
    return None


def _measured(modules: "list[torch.nn.Module]", features: "dict[str, torch.Tensor]") -> int:
    import torch

    with torch.no_grad():
        for module in modules:
            features = module(features)
    return int(features["token_embeddings"].shape[-1])
