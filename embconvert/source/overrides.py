"""What the user changes of a loaded embedding model: its pooling, normalization and dimensions."""

from collections.abc import Callable
from typing import Any

from embconvert.errors import UsageError
from embconvert.models.choices import PoolingMode


def normalize(chain: Any) -> None:
    """Lets a chain of sentence-transformers' modules end in a normalization."""
    from sentence_transformers.base.modules import Normalize

    if not isinstance(chain[-1], Normalize):
        chain.append(Normalize())


def truncate(chain: Any, dimensions: int, *, full: int | None) -> None:
    """Lets a chain give the first dimensions only.

    Args:
        chain: Of sentence-transformers' modules.
        dimensions: How many.
        full: What it gives now; None when that is not known.

    Raises:
        UsageError: It has fewer.
    """
    if full is not None and dimensions > full:
        raise UsageError(
            f"--dimensions {dimensions} is more than the model's {full}",
            f"give a number below {full}, or leave --dimensions out",
        )
    chain.truncate_dim = dimensions


def set_pooling(
    chain: Any, mode: PoolingMode | None, *, has_modules: bool, warn: Callable[[str], None]
) -> None:
    """Replaces a chain's pooling, or says what is assumed of a model that does not say.

    Args:
        chain: Of sentence-transformers' modules.
        mode: What is asked for; None leaves it.
        has_modules: Whether the model's files say what its modules are.
        warn: Called with what the user should know.

    Raises:
        UsageError: There is no pooling, or what follows takes another's dimensions.
    """
    from sentence_transformers.sentence_transformer.modules import Pooling

    index = next((i for i, m in enumerate(chain) if isinstance(m, Pooling)), None)
    if index is None:
        if mode is not None:
            raise UsageError(
                "--pooling cannot be set: the model has no pooling module to replace",
                "leave --pooling out",
            )
        return
    own = chain[index]
    if mode is not None and mode != own.pooling_mode:
        if has_modules:
            warn(f"pooling {mode} replaces the model's own, {own.pooling_mode}")
        replacement = Pooling(own.embedding_dimension, str(mode))
        if replacement.pooling_output_dimension != own.pooling_output_dimension:
            raise UsageError(
                f"--pooling {mode} gives {replacement.pooling_output_dimension} dimensions "
                f"where the model's next module takes {own.pooling_output_dimension}",
                "leave --pooling out",
            )
        chain[index] = replacement
    elif mode is None and not has_modules:
        warn(
            f"the model has no sentence-transformers modules; {own.pooling_mode} pooling is "
            "assumed (--pooling overrides)"
        )
