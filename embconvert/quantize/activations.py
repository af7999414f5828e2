"""Runs the calibration texts and returns a graph's activations."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embconvert.graph.segments import PiecewiseGraph
from embconvert.quantize.blocks import FloatArray
from embconvert.quantize.products import Product
from embconvert.quantize.settings import Feed, QuantizeSettings
from embconvert.quantize.surgery import Surgery

# Tokens per run: all requested activations of a run are in memory.
_RUN_TOKENS = 512
# Limit of the cost for large models, and the minimum of tokens: Q8 and QInt8 of MiniLM are as
# accurate with 128 tokens as with 1,024 (mean cosines 0.9997 and 0.997).
_FLOP = 2e11
_FEWEST_TOKENS = 256


def affordable_tokens(weight_bytes: int) -> int:
    """Returns the number of calibration tokens for float32 weights of this size."""
    # A weight of four bytes costs two operations per token.
    return max(_FEWEST_TOKENS, int(_FLOP / max(1.0, weight_bytes / 2)))


def activations(
    surgery: Surgery,
    products: Sequence[Product],
    settings: QuantizeSettings,
    tokens: int | None = None,
) -> Iterator[dict[str, FloatArray]]:
    """Yields the products' activations on the calibration texts; see calibration_values.

    Yields:
        Some activations of some texts, by name, each (tokens, channels) float32 without padding;
        each activation of each text once.
    """
    widths = {product.activation: product.matrix.shape[1] for product in products}
    graph = PiecewiseGraph(
        surgery.hollow,
        surgery.hollow_weights,
        settings.mapping_folder(surgery.path),
        wanted=sorted(widths),
    )
    for made, mask in calibration_values(graph, settings, tokens):
        yield {name: token_rows(values, mask, widths[name]) for name, values in made.items()}


def calibration_values(
    graph: PiecewiseGraph, settings: QuantizeSettings, tokens: int | None
) -> Iterator[tuple[dict[str, Any], npt.NDArray[np.bool_]]]:
    """Runs the calibration texts, or about so many tokens of them, piece by piece.

    Yields:
        Some of the requested values of some texts, by name, and the mask of their tokens, (texts,
        seq); each value of each text once.
    """
    inputs = list(dict.fromkeys([*graph.inputs, "attention_mask"]))
    parts = [part for feed in settings.calibration(inputs, tokens) for part in _parts_of(feed)]
    masks = [part["attention_mask"].astype(bool) for part in parts]
    given = set(graph.outputs) & set(graph.inputs)
    if given:
        for mask, part in zip(masks, parts, strict=True):
            yield {name: part[name] for name in given}, mask
    for index, made in graph.pieces(parts):
        if made:
            yield made, masks[index]


def token_rows(values: Any, mask: npt.NDArray[np.bool_], width: int) -> FloatArray:
    """Returns an activation of a batch as (rows, width) float32, without padding."""
    kept = values[mask] if values.shape[:2] == mask.shape else values
    rows: FloatArray = kept.reshape(-1, width)
    return rows


def _parts_of(feed: Feed) -> Iterator[Feed]:
    """Splits a batch into runs with few tokens."""
    rows, *length = next(iter(feed.values())).shape
    step = max(1, _RUN_TOKENS // math.prod(length))
    for start in range(0, rows, step):
        yield {name: values[start : start + step] for name, values in feed.items()}
