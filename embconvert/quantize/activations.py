"""Runs the calibration texts and returns a graph's activations."""

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from embconvert.graph.segments import PiecewiseGraph
from embconvert.quantize.blocks import FloatArray
from embconvert.quantize.products import Product, sharing
from embconvert.quantize.settings import Feed, QuantizeSettings
from embconvert.quantize.surgery import Surgery

# Channels further apart are treated as uncorrelated, so that the matrix of a wide activation
# remains small.
_WINDOW = 1024
# Tokens per run: all requested activations of a run are in memory.
_RUN_TOKENS = 512
# Limit of the cost for large models, and the minimum of tokens: Q8 and QInt8 of MiniLM are as
# accurate with 128 tokens as with 1,024 (mean cosines 0.9997 and 0.997).
_FLOP = 2e11
_FEWEST_TOKENS = 256


@dataclass(frozen=True)
class Moments:
    """Second moments of an activation's channels over all tokens.

    Attributes:
        windows: For each run of at most _WINDOW channels, E[x_i x_j], (channels, channels) float32,
            mapped from a file.
    """

    windows: tuple[npt.NDArray[np.float32], ...]

    def energy(self, weights: npt.NDArray[np.float32]) -> float:
        """Returns E|W x|^2 for the activation x and weights W, (rows, channels) float32."""
        total, start = 0.0, 0
        for window in self.windows:
            part = weights[:, start : start + len(window)]
            total += float(np.vdot(part @ window, part))
            start += len(window)
        return total


def affordable_tokens(weight_bytes: int) -> int:
    """Returns the number of calibration tokens for float32 weights of this size."""
    # A weight of four bytes costs two operations per token.
    return max(_FEWEST_TOKENS, int(_FLOP / max(1.0, weight_bytes / 2)))


def second_moments(
    surgery: Surgery,
    products: Sequence[Product],
    settings: QuantizeSettings,
    offsets: Mapping[str, FloatArray] = MappingProxyType({}),
) -> dict[str, Moments]:
    """Returns the second moments of the products' activations on the calibration texts, by name.

    Padding is excluded, and tied activations are averaged. The moments are in the settings' folder
    for temporary files.

    Args:
        offsets: Subtracted from some activations, (channels,) float32.
    """
    widths = {product.activation: product.matrix.shape[1] for product in products}
    moments = {
        name: Moments(
            tuple(
                _zeros_on_disk(min(_WINDOW, width - start), settings.work)
                for start in range(0, width, _WINDOW)
            )
        )
        for name, width in sorted(widths.items())
    }
    seen = dict.fromkeys(widths, 0)
    for rows in activations(surgery, products, settings):
        for name, values in rows.items():
            seen[name] += len(values)
            moved = values - offsets[name] if name in offsets else values
            for index, window in enumerate(moments[name].windows):
                piece = moved[:, index * _WINDOW :][:, : len(window)]
                np.add(window, piece.T @ piece, out=window)
    for name, moment in moments.items():
        for window in moment.windows:
            np.divide(window, max(1, seen[name]), out=window)
    for members, _ in sharing(products):
        if len(members) > 1:
            windows = zip(*(moments[member].windows for member in members), strict=True)
            together = Moments(tuple(np.mean(window, axis=0) for window in windows))
            moments |= dict.fromkeys(members, together)
    return moments


def _zeros_on_disk(size: int, folder: Path) -> npt.NDArray[np.float32]:
    """Returns a square matrix in an unnamed temporary file."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return np.memmap(file, np.float32, "w+", shape=(size, size))


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
