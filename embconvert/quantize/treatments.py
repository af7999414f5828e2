"""How weights are changed before they are rounded, by recipe."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from embconvert.models.recipes import Recipe
from embconvert.processes.threads import on_all_cpus
from embconvert.quantize.blocks import FloatArray
from embconvert.quantize.channels import Channels
from embconvert.quantize.moments import Moments, second_moments
from embconvert.quantize.products import Matrix, Product, sharing
from embconvert.quantize.settings import QuantizeSettings
from embconvert.quantize.shift import shifted
from embconvert.quantize.smooth import is_worth_smoothing, smoothed, smoothing
from embconvert.quantize.split import without_outliers
from embconvert.quantize.surgery import Surgery

#: The recipes that divide activations.
DIVIDING = frozenset({Recipe.SMOOTH, Recipe.SPLIT})

#: The recipes that need the statistics of channels.
LOOKING = DIVIDING | {Recipe.SHIFT, Recipe.CLIP, Recipe.BIAS_CORRECTION, Recipe.MIXED}

#: From an activation and all of its matrices to its divisors, (channels,) float32.
Smooth = Callable[[Channels, Sequence[Matrix]], FloatArray | None]


@dataclass(frozen=True, kw_only=True)
class Treatment:
    """How the weights of an activation's products are changed; each (channels,) float32.

    Attributes:
        offsets: Subtracted from the activation, before it is divided.
        factors: Divisors of the activation and factors of the weights; infinity for a split
            channel.
        moments: Of the activation minus its offsets, for GPTQ; None rounds to the nearest.
        mean: Of the original activation, for bias correction; None skips it.
        squares: Mean squares of the activation minus its offsets, for clipping; None skips it.
    """

    offsets: FloatArray | None = None
    factors: FloatArray | None = None
    moments: Moments | None = None
    mean: FloatArray | None = None
    squares: FloatArray | None = None

    @property
    def weight_factors(self) -> FloatArray | None:
        """Factors of the weights: 0 for split channels."""
        if self.factors is None:
            return None
        return np.where(np.isinf(self.factors), np.float32(0), self.factors)

    @property
    def split(self) -> list[int]:
        return [] if self.factors is None else np.flatnonzero(np.isinf(self.factors)).tolist()


def divided_weights(weights: FloatArray, treatment: Treatment) -> FloatArray:
    """Returns the weights, (rows, inner) float32, for the divided activation."""
    factors = treatment.weight_factors
    return weights if factors is None else weights * factors


def divided_moments(treatment: Treatment) -> Moments | None:
    """Returns the moments of the activation as the product gets it."""
    if treatment.moments is None or treatment.factors is None:
        return treatment.moments
    return smoothed(treatment.moments, treatment.factors)


def dividing_factors(
    products: Sequence[Product],
    channels: Mapping[str, Channels],
    recipes: Collection[Recipe],
    smooth: Smooth,
) -> dict[str, FloatArray]:
    """Returns Treatment.factors by activation, where dividing is worth it."""
    if not DIVIDING & set(recipes):
        return {}

    def find(tied: tuple[list[str], list[Matrix]]) -> FloatArray | None:
        activations, matrices = tied
        known = channels[activations[0]]
        found = smooth(known, matrices) if Recipe.SMOOTH in recipes else None
        return without_outliers(known, found) if Recipe.SPLIT in recipes else found

    groups = sharing(products)
    return {
        activation: found
        for (activations, _), found in zip(groups, on_all_cpus(find, groups), strict=True)
        if found is not None
        for activation in activations
    }


def smooth_runs(
    channels: Channels, matrices: Sequence[Matrix], *, alpha: float
) -> FloatArray | None:
    """Smooths for a scale per token or per block of its channels; a Smooth for an alpha."""
    results = sum(matrix.shape[0] for matrix in matrices)
    if not is_worth_smoothing(channels.squares, results):
        return None
    return smoothing(channels.squares, (matrix.rows() for matrix in matrices), alpha)


def make_treatments(
    surgery: Surgery,
    products: Sequence[Product],
    settings: QuantizeSettings,
    channels: Mapping[str, Channels],
    factors: Mapping[str, FloatArray],
    offsets: Mapping[str, FloatArray] = MappingProxyType({}),
) -> dict[str, Treatment]:
    """Returns the treatment of each activation, by name; statistics only if a recipe needs them."""
    recipes = settings.options.recipes

    def squares(name: str) -> FloatArray:
        known = channels[name]
        return (shifted(known, offsets[name]) if name in offsets else known).squares

    biased = Recipe.BIAS_CORRECTION in recipes
    moments: dict[str, Moments] = {}
    if Recipe.GPTQ in recipes:
        moments = second_moments(surgery, products, settings, offsets)
    return {
        name: Treatment(
            offsets=offsets.get(name),
            factors=factors.get(name),
            moments=moments.get(name),
            # A shifted product has a new bias anyway.
            mean=channels[name].mean if biased or name in offsets else None,
            squares=squares(name) if Recipe.CLIP in recipes else None,
        )
        for name in {product.activation for product in products}
    }
