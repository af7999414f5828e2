"""Statistics of a graph's values on the calibration texts, cached for large models.

Running the texts takes about as long as the rest of a quantization. So for a large model, the first
run computes the statistics for all precisions and saves them in the folder for temporary files,
where the next quantization of the same graph finds them.
"""

import fcntl
import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Any, Self

import numpy as np

from embconvert.graph.runtime import plain_options
from embconvert.graph.segments import PiecewiseGraph
from embconvert.quantize.activations import affordable_tokens, calibration_values, token_rows
from embconvert.quantize.blocks import FloatArray
from embconvert.quantize.probes import with_raised_lowest, with_sizes
from embconvert.quantize.settings import QuantizeSettings
from embconvert.quantize.surgery import Surgery

# Means are stable after so many tokens.
_MEAN_TOKENS = 1024
#: After so many, the largest values grow little (`make bench-growth`, docs/quality.md).
SIZE_TOKENS = 2048


@dataclass
class ChannelSums:
    """Sums over an activation's rows.

    Attributes:
        sums: Of the values and of their squares, (2, channels) float64.
        ends: Lowest and highest of the values, (2, channels) float32; infinite without rows.
        rows: Number of rows.
    """

    sums: Any
    ends: Any
    rows: int = 0

    @classmethod
    def none(cls, width: int) -> Self:
        ends = np.full((2, width), np.inf, np.float32)
        ends[1] = -np.inf
        return cls(np.zeros((2, width)), ends)

    def add(self, values: FloatArray) -> None:
        """Adds rows, (rows, channels) float32."""
        self.rows += len(values)
        self.sums += values.sum(axis=0), np.einsum("ij,ij->j", values, values)
        low, high = self.ends
        np.minimum(low, values.min(axis=0, initial=np.inf), out=low)
        np.maximum(high, values.max(axis=0, initial=-np.inf), out=high)


@dataclass(frozen=True)
class Sizes:
    """The largest absolute value of what nodes compute, and the mean of terms and sums, by name."""

    peaks: Mapping[str, float]
    means: Mapping[str, float]


class _Aspect(Enum):
    SIZES = auto()
    CHANNELS = auto()


@dataclass
class _Observed:
    peaks: dict[str, float] = field(default_factory=dict)
    means: dict[str, float] = field(default_factory=dict)
    channels: dict[str, ChannelSums] = field(default_factory=dict)
    runs: Counter[str] = field(default_factory=Counter)

    def note_sizes(self, value: str, peak: float, *mean: float) -> None:
        """Adds the sizes of a value in one run."""
        self.peaks[value] = max(self.peaks.get(value, 0.0), peak)
        self.runs[value] += 1
        for number in mean:
            known = self.means.get(value, 0.0)
            self.means[value] = known + (number - known) / self.runs[value]

    def save(self, path: Path) -> None:
        """Writes atomically: readers never see a partial file."""
        arrays: dict[str, Any] = {
            "values": list(self.peaks),
            "peaks": list(self.peaks.values()),
            "added": list(self.means),
            "means": list(self.means.values()),
            "activations": list(self.channels),
            "rows": [sums.rows for sums in self.channels.values()],
        }
        for number, sums in enumerate(self.channels.values()):
            arrays |= {f"sums{number}": sums.sums, f"ends{number}": sums.ends}
        part = path.with_suffix(".part")
        with part.open("wb") as stream:
            np.savez(stream, **arrays)
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        with np.load(path) as found:
            peaks = dict(zip(found["values"].tolist(), found["peaks"].tolist(), strict=True))
            means = dict(zip(found["added"].tolist(), found["means"].tolist(), strict=True))
            rows = found["rows"].tolist()
            channels = {
                name: ChannelSums(found[f"sums{n}"], found[f"ends{n}"], rows[n])
                for n, name in enumerate(found["activations"].tolist())
            }
        return cls(peaks, means, channels)


def _size_tokens(weight_bytes: int) -> int:
    return min(SIZE_TOKENS, affordable_tokens(weight_bytes))


def value_sizes(
    surgery: Surgery,
    settings: QuantizeSettings,
    tokens_for: Callable[[int], int] = _size_tokens,
) -> Sizes:
    """Returns the absolute values of what nodes compute.

    Masks count with the lowest value of half precision. Call this and channel_sums before the
    surgery changes the graph.

    Args:
        tokens_for: Returns the number of tokens to read, from the bytes of the weights in products.
    """
    found = _observe(surgery, settings, _Aspect.SIZES, tokens_for)
    return Sizes(found.peaks, found.means)


def channel_sums(
    surgery: Surgery,
    settings: QuantizeSettings,
    tokens_for: Callable[[int], int] = affordable_tokens,
) -> Mapping[str, ChannelSums]:
    """Returns the sums of all activations that are multiplied by a constant matrix, by name.

    Padding is excluded; enough tokens for stable means are read.
    """
    return _observe(surgery, settings, _Aspect.CHANNELS, tokens_for).channels


def _observe(
    surgery: Surgery,
    settings: QuantizeSettings,
    aspect: _Aspect,
    tokens_for: Callable[[int], int],
) -> _Observed:
    products = surgery.products()
    widths = {product.activation: product.matrix.shape[1] for product in products}
    weight_bytes = sum({p.matrix.name: p.matrix.tensor.nbytes for p in products}.values())
    tokens = tokens_for(weight_bytes)
    if tokens > _MEAN_TOKENS:
        most = _MEAN_TOKENS if aspect is _Aspect.CHANNELS else tokens
        return _look(surgery, settings, widths, {aspect}, most)
    digest = hashlib.sha256(surgery.hollow.SerializeToString(deterministic=True)).hexdigest()
    note = settings.work / f"observed_{digest}.npz"
    with _alone(note):
        if not note.exists():
            _look(surgery, settings, widths, set(_Aspect), tokens).save(note)
    return _Observed.load(note)


@contextmanager
def _alone(note: Path) -> Iterator[None]:
    """Waits while another process writes a cache file; without locks both write the same."""
    with note.with_suffix(".lock").open("w") as lock:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _look(
    surgery: Surgery,
    settings: QuantizeSettings,
    widths: Mapping[str, int],
    aspects: Collection[_Aspect],
    tokens: int,
) -> _Observed:
    """Runs about so many tokens through the unchanged graph; `widths` are activations' channels."""
    hollow = with_raised_lowest(surgery.hollow)
    probed: dict[str, str] = {}
    if _Aspect.SIZES in aspects:
        hollow, probed = with_sizes(hollow)
    if _Aspect.CHANNELS not in aspects:
        widths = {}
    graph = PiecewiseGraph(
        hollow,
        surgery.hollow_weights,
        settings.mapping_folder(surgery.path),
        # ONNX Runtime's fusions would depend on the requested values.
        options=plain_options,
        wanted=sorted({*widths, *probed}),
    )
    found = _Observed(channels={name: ChannelSums.none(width) for name, width in widths.items()})
    for made, mask in calibration_values(graph, settings, tokens):
        for name, values in made.items():
            if name in probed:
                found.note_sizes(probed[name], *map(float, values.flat))
            else:
                found.channels[name].add(token_rows(values, mask, widths[name]))
    return found
