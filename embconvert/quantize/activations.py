"""What a graph's activations look like on the calibration texts."""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embconvert.graph.hollow import fill
from embconvert.graph.onnx_file import write_model
from embconvert.graph.runtime import NO_SECOND_COPY, open_session, session_options
from embconvert.quantize.blocks import FloatArray
from embconvert.quantize.products import Product, sharing
from embconvert.quantize.settings import Feed, QuantizeSettings
from embconvert.quantize.surgery import Surgery

# Channels further apart than this count as uncorrelated, so that the matrix of a wide activation
# stays small.
_WINDOW = 1024
# Tokens of one run: every activation that is looked at is in memory for them.
_RUN_TOKENS = 512
#: Means are settled after these; matrices of moments and extreme values want more.
MEAN_TOKENS = 1024


@dataclass(frozen=True, kw_only=True)
class Channels:
    """An activation's channels over all tokens; each (channels,) float32.

    Attributes:
        mean: E[x_i].
        squares: E[x_i^2].
        lowest: Of the values and 0.
        highest: Of the values and 0.
    """

    mean: FloatArray
    squares: FloatArray
    lowest: FloatArray
    highest: FloatArray


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


def channel_statistics(
    surgery: Surgery,
    products: Sequence[Product],
    settings: QuantizeSettings,
    tokens: int | None = None,
) -> dict[str, Channels]:
    """Returns what the channels of what products multiply look like, by name.

    Rows of padding do not count. After about so many tokens it ends, if a number is given.
    Activations that are tied, as albert's layers share their weights, are averaged: what is done to
    a matrix for one of them holds for all.
    """
    widths = {product.activation: product.matrix.shape[1] for product in products}
    sums = {name: np.zeros((2, width)) for name, width in widths.items()}
    ends = {name: np.zeros((2, width), np.float32) for name, width in widths.items()}
    seen = 0
    for count, rows in activations(surgery, products, settings, tokens):
        seen += count
        for name, values in rows.items():
            sums[name] += values.sum(axis=0), np.einsum("ij,ij->j", values, values)
            low, high = ends[name]
            np.minimum(low, values.min(axis=0, initial=0), out=low)
            np.maximum(high, values.max(axis=0, initial=0), out=high)
    found: dict[str, Channels] = {}
    for members, _ in sharing(products):
        mean, squares = np.mean([sums[m] for m in members], axis=0) / max(1, seen)
        channels = Channels(
            mean=mean.astype(np.float32),
            squares=squares.astype(np.float32),
            lowest=np.min([ends[m][0] for m in members], axis=0),
            highest=np.max([ends[m][1] for m in members], axis=0),
        )
        found |= dict.fromkeys(members, channels)
    return found


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
                np.memmap(
                    settings.work / f"moments_{number}_{start}",
                    np.float32,
                    "w+",
                    shape=(size, size),
                )
                for start in range(0, widths[name], _WINDOW)
                for size in [min(_WINDOW, widths[name] - start)]
            )
        )
        for number, name in enumerate(sorted(widths))
    }
    tokens = 0
    for count, rows in activations(surgery, products, settings):
        tokens += count
        for name, values in rows.items():
            for index, window in enumerate(moments[name].windows):
                piece = values[:, index * _WINDOW :][:, : len(window)]
                np.add(window, piece.T @ piece, out=window)
    for moment in moments.values():
        for window in moment.windows:
            np.divide(window, max(1, tokens), out=window)
    for members, _ in sharing(products):
        if len(members) > 1:
            windows = zip(*(moments[member].windows for member in members), strict=True)
            together = Moments(tuple(np.mean(window, axis=0) for window in windows))
            moments |= dict.fromkeys(members, together)
    return moments


def activations(
    surgery: Surgery,
    products: Sequence[Product],
    settings: QuantizeSettings,
    tokens: int | None = None,
) -> Iterator[tuple[int, dict[str, FloatArray]]]:
    """Runs the calibration texts, or about so many tokens of them.

    Yields:
        For some texts, how many tokens they have, and what products multiply, by name, each
        (tokens, channels) float32 without rows of padding.
    """
    widths = {product.activation: product.matrix.shape[1] for product in products}
    names = sorted(widths)
    session = _probing_session(surgery, names, settings.work)
    inputs = [i.name for i in session.get_inputs()]
    for feed in settings.calibration(list(dict.fromkeys([*inputs, "attention_mask"])), tokens):
        for part in parts_of(feed):
            real = part["attention_mask"].astype(bool)
            rows = {}
            outputs = session.run(names, {name: part[name] for name in inputs})
            for name, values in zip(names, outputs, strict=True):
                kept = values[real] if values.shape[:2] == real.shape else values
                rows[name] = kept.reshape(-1, widths[name])
            yield int(real.sum()), rows


def _probing_session(surgery: Surgery, names: Collection[str], work: Path) -> Any:
    """Opens the graph with activations as further outputs, its weights mapped from a file."""
    import onnx

    probe = onnx.ModelProto()
    probe.CopyFrom(surgery.hollow)
    present = {output.name for output in probe.graph.output}
    probe.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in names
        if name not in present
    )
    path = work / "probe.onnx"
    write_model(fill(probe, surgery.hollow_weights), path, external_data_threshold_bytes=0)
    return open_session(path, session_options(**NO_SECOND_COPY))


def parts_of(feed: Feed) -> Iterator[Feed]:
    """Cuts a batch into runs of few tokens."""
    rows, *length = next(iter(feed.values())).shape
    step = max(1, _RUN_TOKENS // math.prod(length))
    for start in range(0, rows, step):
        yield {name: values[start : start + step] for name, values in feed.items()}
