"""What a graph's activations look like on the calibration texts."""

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embconvert.graph.segments import PiecewiseGraph
from embconvert.quantize.blocks import FloatArray
from embconvert.quantize.products import Product, sharing
from embconvert.quantize.settings import Feed, QuantizeSettings
from embconvert.quantize.surgery import Surgery

# Channels further apart than this count as uncorrelated, so that the matrix of a wide activation
# stays small.
_WINDOW = 1024
# Tokens of one run: every activation that is looked at is in memory for them.
_RUN_TOKENS = 512
# What looking may cost a large model, and what it sees in any case: Q8 and QInt8 of MiniLM are as
# near the source with 128 tokens as with 1,024 (mean cosines 0.9997 and 0.997).
_FLOP = 2e11
_FEWEST_TOKENS = 256


@dataclass(frozen=True)
class Moments:
    """Second moments of an activation's channels over all tokens.

    Attributes:
        windows: For each run of at most _WINDOW channels, E[x_i x_j], (channels, channels)
            float32, mapped from a file.
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
    """Returns how many tokens a model of float32 weights may read to be looked at.

    Args:
        weight_bytes: Of what it multiplies with.
    """
    # A weight of four bytes costs two operations a token.
    return max(_FEWEST_TOKENS, int(_FLOP / max(1.0, weight_bytes / 2)))


def second_moments(
    surgery: Surgery, products: Sequence[Product], settings: QuantizeSettings
) -> dict[str, Moments]:
    """Returns the second moments, on the calibration texts, of what products multiply, by name.

    Rows of padding do not count, tied activations are averaged. The moments lie in the settings'
    folder for temporary files.
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
            for index, window in enumerate(moments[name].windows):
                piece = values[:, index * _WINDOW :][:, : len(window)]
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
    """Returns a square matrix in a file without a name, which goes with the matrix."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return np.memmap(file, np.float32, "w+", shape=(size, size))


def activations(
    surgery: Surgery,
    products: Sequence[Product],
    settings: QuantizeSettings,
    tokens: int | None = None,
) -> Iterator[dict[str, FloatArray]]:
    """Looks at what products multiply on the calibration texts; see calibration_values.

    Yields:
        For some texts some of what products multiply, by name, each (tokens, channels) float32
        without rows of padding; each activation of each text once.
    """
    widths = {product.activation: product.matrix.shape[1] for product in products}
    graph = PiecewiseGraph(
        surgery.hollow,
        surgery.hollow_weights,
        settings.mapping_folder(surgery.path),
        wanted=sorted(widths),
    )
    for made, mask in calibration_values(graph, settings, tokens):
        yield {name: rows_of(values, mask, widths[name]) for name, values in made.items()}


def calibration_values(
    graph: PiecewiseGraph, settings: QuantizeSettings, tokens: int | None
) -> Iterator[tuple[dict[str, Any], npt.NDArray[np.bool_]]]:
    """Runs the calibration texts, or about so many tokens of them, through a piece after another.

    Yields:
        For some texts some of the values that the graph hands out, by name, and where the texts'
        tokens are, (texts, seq); each value of each text once.
    """
    inputs = list(dict.fromkeys([*graph.inputs, "attention_mask"]))
    parts = [part for feed in settings.calibration(inputs, tokens) for part in _parts_of(feed)]
    masks = [part["attention_mask"].astype(bool) for part in parts]
    given = set(graph.outputs) & set(graph.inputs)
    if given:
        for mask, part in zip(masks, parts, strict=True):
            yield {name: part[name] for name in given}, mask
    for index, made, _ in graph.pieces(parts):
        if made:
            yield made, masks[index]


def rows_of(values: Any, mask: npt.NDArray[np.bool_], width: int) -> FloatArray:
    """Returns an activation of a batch as (rows, width) float32, without rows of padding."""
    kept = values[mask] if values.shape[:2] == mask.shape else values
    rows: FloatArray = kept.reshape(-1, width)
    return rows


def _parts_of(feed: Feed) -> Iterator[Feed]:
    """Cuts a batch into runs of few tokens."""
    rows, *length = next(iter(feed.values())).shape
    step = max(1, _RUN_TOKENS // math.prod(length))
    for start in range(0, rows, step):
        yield {name: values[start : start + step] for name, values in feed.items()}
