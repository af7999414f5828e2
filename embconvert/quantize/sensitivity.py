"""Which products suffer most from 8-bit integers, measured on calibration texts.

Each product is done twice with some of the activations that it multiplies in the float32 graph: as
it is, and rounded as it would be. What moves farthest stays float32, under a budget of size.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from embconvert.models.values import KeptNode
from embconvert.quantize.activations import activations
from embconvert.quantize.blocks import FloatArray
from embconvert.quantize.integers import rounded_matrix
from embconvert.quantize.mixed import most_moved
from embconvert.quantize.products import Product
from embconvert.quantize.settings import QuantizeSettings
from embconvert.quantize.surgery import Surgery
from embconvert.quantize.treatments import Treatment

#: The share of the products' weights that stay float32.
SHARE = 1 / 16
# Tokens that are enough to order the products.
_TOKENS = 512

#: From an activation's name and its values, (tokens, channels) float32, to the rounded ones.
Rounding = Callable[[str, FloatArray], FloatArray]


def without_most_sensitive(
    surgery: Surgery,
    products: Sequence[Product],
    settings: QuantizeSettings,
    treatments: Mapping[str, Treatment],
    rounding: Rounding,
) -> list[Product]:
    """Returns the products but for those that suffer most, which are noted as kept.

    Args:
        surgery: Has the graph.
        products: Of it.
        settings: Has the texts.
        treatments: By the activation's name.
        rounding: What the graph will do to activations that were divided.
    """
    moved: dict[str, float] = {}
    known: dict[str, float] = {}
    for rows in activations(surgery, products, settings, _TOKENS):
        for product in products:
            if product.activation not in rows:
                continue
            name = product.matrix.name
            errors = _energies(product, rows[product.activation], settings, treatments, rounding)
            moved[name] = moved.get(name, 0.0) + errors[0]
            known[name] = known.get(name, 0.0) + errors[1]
    relative = {name: moved[name] / known[name] if known[name] else 0.0 for name in moved}
    sizes = {product.matrix.name: product.matrix.tensor.size for product in products}
    chosen = most_moved(relative, sizes, SHARE)
    for product in products:
        if product.matrix.name in chosen:
            reason = (
                f"rounding moves its results by {relative[product.matrix.name]:.2%} of their energy"
            )
            node = product.node
            settings.keep(KeptNode(node=node.name or "", operator=node.op_type, reason=reason))
    return [product for product in products if product.matrix.name not in chosen]


def _energies(
    product: Product,
    values: FloatArray,
    settings: QuantizeSettings,
    treatments: Mapping[str, Treatment],
    rounding: Rounding,
) -> tuple[float, float]:
    """Returns the squares of what rounding changes in a product's results, and of the results."""
    treatment = treatments[product.activation]
    weights = product.matrix.rows()
    exact = values @ weights.T
    if treatment.factors is not None:
        split = treatment.split
        exact_rest = exact - values[:, split] @ weights[:, split].T
        values = values / treatment.factors
    else:
        exact_rest = exact
    integers, scales = rounded_matrix(weights, treatment, settings.options, nearest_only=True)
    found = rounding(product.activation, values) @ (integers.T * scales)
    return float(np.square(found - exact_rest).sum()), float(np.square(exact).sum())
