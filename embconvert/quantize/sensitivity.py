"""Finds the products that are most sensitive to 8-bit integers, on calibration texts.

Each product is computed with some activations of the float32 graph, exactly and rounded. Those with
the largest change stay float32, up to a share of the weights.
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
from embconvert.quantize.treatments import Treatment, divided_weights

# Enough tokens to rank the products.
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
    """Returns the products except the most sensitive ones, which are recorded as kept."""
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
    chosen = most_moved(relative, sizes, settings.float32_share)
    for product in products:
        if product.matrix.name in chosen:
            reason = (
                f"rounding changes its results by {relative[product.matrix.name]:.2%} of their "
                "energy"
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
    """Returns the squared change of a product's results by rounding, and the squared results."""
    treatment = treatments[product.activation]
    weights = product.matrix.rows()
    exact = values @ weights.T
    split = treatment.split
    exact_rest = exact - values[:, split] @ weights[:, split].T
    factors = np.float32(1) if treatment.factors is None else treatment.factors
    if treatment.offsets is not None:
        values = values - treatment.offsets
        exact_rest -= divided_weights(weights, treatment) @ (treatment.offsets / factors)
    values = values / factors
    integers, scales = rounded_matrix(weights, treatment, settings.options, nearest_only=True)
    found = rounding(product.activation, values) @ (integers.T * scales)
    return float(np.square(found - exact_rest).sum()), float(np.square(exact).sum())
