"""The user's changes to a loaded embedding model: pooling, normalization, dimensions."""

from collections.abc import Callable
from typing import Any

from embconvert.errors import UsageError
from embconvert.models.choices import PoolingMode


def normalize(chain: Any) -> None:
    """Appends a normalization to a chain of sentence-transformers' modules, if it has none."""
    from sentence_transformers.base.modules import Normalize

    if not isinstance(chain[-1], Normalize):
        chain.append(Normalize())


def truncate(chain: Any, dimensions: int, *, full: int | None) -> None:
    """Truncates embeddings to the first dimensions; raises UsageError if there are only `full`."""
    if full is not None and dimensions > full:
        raise UsageError(
            f"--dimensions {dimensions} is more than the model's {full}",
            f"give a number below {full}, or remove --dimensions",
        )
    chain.truncate_dim = dimensions


def set_pooling(
    chain: Any, mode: PoolingMode | None, *, has_modules: bool, warn: Callable[[str], None]
) -> None:
    """Replaces a chain's pooling, or warns about an assumed one, if `mode` is None.

    Raises UsageError if there is no pooling, or its dimensions do not fit the next module.
    """
    from sentence_transformers.sentence_transformer.modules import Pooling

    index = next((i for i, m in enumerate(chain) if isinstance(m, Pooling)), None)
    if index is None:
        if mode is not None:
            raise UsageError(
                "--pooling cannot be set: the model has no pooling module to replace",
                "remove --pooling",
            )
        return
    own = chain[index]
    if mode is not None and mode != own.pooling_mode:
        if has_modules:
            warn(f"--pooling {mode} replaces the model's own pooling, {own.pooling_mode}")
        replacement = Pooling(own.embedding_dimension, str(mode))
        if replacement.pooling_output_dimension != own.pooling_output_dimension:
            raise UsageError(
                f"--pooling {mode} gives {replacement.pooling_output_dimension} dimensions, but "
                f"the model's next module needs {own.pooling_output_dimension}",
                "remove --pooling",
            )
        chain[index] = replacement
    elif mode is None and not has_modules:
        warn(
            f"the model has no sentence-transformers modules; {own.pooling_mode} pooling is "
            "assumed (--pooling overrides)"
        )
