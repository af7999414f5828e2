"""What is done to weights before they become integers, recipe by recipe."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from embconvert.models.choices import Recipe
from embconvert.processes.threads import on_all_cpus
from embconvert.quantize.activations import Moments, second_moments
from embconvert.quantize.blocks import FloatArray
from embconvert.quantize.channels import Channels
from embconvert.quantize.products import Matrix, Product, sharing
from embconvert.quantize.settings import QuantizeSettings
from embconvert.quantize.smooth import is_worth_smoothing, smoothed, smoothing
from embconvert.quantize.split import without_outliers
from embconvert.quantize.surgery import Surgery

#: The recipes that divide activations.
DIVIDING = frozenset({Recipe.SMOOTH, Recipe.SPLIT})

#: The recipes that look at the channels of activations.
LOOKING = DIVIDING | {Recipe.CLIP, Recipe.BIAS_CORRECTION, Recipe.MIXED}

#: From an activation and all that it multiplies, to what to divide it by, (channels,) float32.
Smooth = Callable[[Channels, Sequence[Matrix]], FloatArray | None]


@dataclass(frozen=True, kw_only=True)
class Treatment:
    """What is done to the weights of all products with an activation; each (channels,) float32.

    Attributes:
        factors: What the activation is divided by, and the weights are multiplied with; infinity
            for a channel that is split off.
        moments: Of the activation as the graph has it, for GPTQ; None rounds to the nearest.
        mean: Likewise, for the correction of biases; None leaves them.
        squares: Likewise, its mean squares, for clipping; None lets the largest weight stay.
    """

    factors: FloatArray | None = None
    moments: Moments | None = None
    mean: FloatArray | None = None
    squares: FloatArray | None = None

    @property
    def weight_factors(self) -> FloatArray | None:
        """What the weights are multiplied with: 0 where a channel is split off."""
        if self.factors is None:
            return None
        return np.where(np.isinf(self.factors), np.float32(0), self.factors)

    @property
    def split(self) -> list[int]:
        """The channels that are split off."""
        return [] if self.factors is None else np.flatnonzero(np.isinf(self.factors)).tolist()


def divided_weights(weights: FloatArray, treatment: Treatment) -> FloatArray:
    """Returns the weights, (rows, inner) float32, for an activation that was divided."""
    factors = treatment.weight_factors
    return weights if factors is None else weights * factors


def divided_moments(treatment: Treatment) -> Moments | None:
    """Returns the moments of an activation that was divided."""
    if treatment.moments is None or treatment.factors is None:
        return treatment.moments
    return smoothed(treatment.moments, treatment.factors)


def dividing_factors(
    products: Sequence[Product],
    channels: Mapping[str, Channels],
    recipes: Collection[Recipe],
    smooth: Smooth,
) -> dict[str, FloatArray]:
    """Returns what to divide activations by, for those that are worth it; see Treatment.factors.

    Args:
        products: Of the graph.
        channels: What activations look like; may be empty when no recipe looks.
        recipes: What is on.
        smooth: How the precision smooths.
    """
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


def smooth_runs(channels: Channels, matrices: Sequence[Matrix]) -> FloatArray | None:
    """Smooths where each token, or each run of its channels, has a scale of its own; a Smooth."""
    results = sum(matrix.shape[0] for matrix in matrices)
    if not is_worth_smoothing(channels.squares, results):
        return None
    return smoothing(channels.squares, (matrix.rows() for matrix in matrices))


def make_treatments(
    surgery: Surgery,
    products: Sequence[Product],
    settings: QuantizeSettings,
    channels: Mapping[str, Channels],
    factors: Mapping[str, FloatArray],
) -> dict[str, Treatment]:
    """Returns the treatment of each activation, by its name.

    Args:
        surgery: Has the graph.
        products: Of it.
        settings: Has the recipes.
        channels: What activations look like; may be empty when no recipe looks.
        factors: What some are divided by.
    """
    recipes = settings.options.recipes
    moments: dict[str, Moments] = {}
    if Recipe.GPTQ in recipes:
        moments = second_moments(surgery, products, settings)
    return {
        name: Treatment(
            factors=factors.get(name),
            moments=moments.get(name),
            mean=channels[name].mean if Recipe.BIAS_CORRECTION in recipes else None,
            squares=channels[name].squares if Recipe.CLIP in recipes else None,
        )
        for name in {product.activation for product in products}
    }
