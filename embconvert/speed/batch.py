"""Batches of an exact shape, made of a model's texts."""

from collections.abc import Collection
from dataclasses import replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from embconvert.fidelity.tokenization import IntArray, TokenizedTexts
from embconvert.models.shapes import Shape

_Array = TypeVar("_Array", bound=npt.NDArray[np.generic])


def batch_of(texts: TokenizedTexts, shape: Shape, inputs: Collection[str]) -> dict[str, IntArray]:
    """Returns a graph's inputs for a batch of a shape, without padding.

    It has the tokens of texts of about that length, cut or repeated in the middle: random tokens
    would read other rows of the embedding table than real texts do. Raises ValueError if the graph
    has an input that tokenization does not provide.
    """
    by_distance = sorted(
        (i for i, length in enumerate(texts.lengths) if length),
        key=lambda i: (texts.lengths[i] < shape.tokens, abs(texts.lengths[i] - shape.tokens), i),
    )
    chosen = texts.subset([by_distance[n % len(by_distance)] for n in range(shape.texts)])

    def resized(arrays: tuple[_Array, ...]) -> tuple[_Array, ...]:
        return tuple(_resized(array, shape.tokens) for array in arrays)

    exact = replace(
        chosen,
        ids=resized(chosen.ids),
        type_ids=resized(chosen.type_ids),
        attended=resized(chosen.attended),
        counted=(),
        padding=replace(chosen.padding, fixed_length=None, multiple_of=1),
    )
    return exact.batch(range(shape.texts), inputs)


def _resized(array: _Array, length: int) -> _Array:
    """Cuts or repeats an array before its last element, which may be a special token."""
    body = np.resize(array[:-1] if len(array) > 1 else array, length - 1)
    return np.concatenate([body, array[-1:]])  # type: ignore[return-value]
