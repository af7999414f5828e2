"""Second moments of activations on the calibration texts, for GPTQ and for the recipe `mixed`."""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO

import numpy as np
import numpy.typing as npt

from embconvert.quantize.activations import activations
from embconvert.quantize.blocks import FloatArray
from embconvert.quantize.products import Product, sharing
from embconvert.quantize.settings import QuantizeSettings
from embconvert.quantize.surgery import Surgery

# Channels further apart are treated as uncorrelated, so that the matrix of a wide activation
# remains small.
_WINDOW = 1024
# Eight per channel of a window. The built-in texts have 6,900; with half of them, MiniLM's Q4 keeps
# 0.2 points fewer of the neighbours.
_TOKENS = 8192
# More are not kept for the next candidate of a search.
_KEPT_BYTES = 1 << 28


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


def second_moments(
    surgery: Surgery,
    products: Sequence[Product],
    settings: QuantizeSettings,
    offsets: Mapping[str, FloatArray] = MappingProxyType({}),
) -> dict[str, Moments]:
    """Returns the second moments of the products' activations on calibration texts, by name.

    Padding is excluded, and tied activations are averaged. The moments are in the settings' folder
    for temporary files; small ones stay there for the next quantization of the same graph. Call
    this before the surgery changes the graph.

    Args:
        offsets: Subtracted from some activations, (channels,) float32.
    """
    widths = {product.activation: product.matrix.shape[1] for product in products}
    sizes = {name: _sizes(width) for name, width in sorted(widths.items())}
    moments = _kept(surgery, products, settings, offsets, sizes)
    for members, _ in sharing(products):
        if len(members) > 1:
            windows = zip(*(moments[member].windows for member in members), strict=True)
            together = Moments(tuple(np.mean(window, axis=0) for window in windows))
            moments |= dict.fromkeys(members, together)
    return moments


def _sizes(width: int) -> list[int]:
    return [min(_WINDOW, width - start) for start in range(0, width, _WINDOW)]


def _kept(
    surgery: Surgery,
    products: Sequence[Product],
    settings: QuantizeSettings,
    offsets: Mapping[str, FloatArray],
    sizes: Mapping[str, Sequence[int]],
) -> dict[str, Moments]:
    """Returns the moments of an earlier quantization, or measures them; not yet those of ties."""
    count = sum(size * size for found in sizes.values() for size in found)
    note = settings.work / f"moments_{_digest(surgery, sizes, offsets)}"
    if note.exists():
        return _split(np.memmap(note, np.float32, "r", shape=(count,)), sizes)
    is_kept = 4 * count <= _KEPT_BYTES
    # A large file has no name, so that it is gone when its process ends in any way.
    with _named(note) if is_kept else tempfile.TemporaryFile(dir=settings.work) as file:
        moments = _split(np.memmap(file, np.float32, "w+", shape=(count,)), sizes)
        _measure(moments, surgery, products, settings, offsets)
    return moments


@contextmanager
def _named(note: Path) -> Iterator[IO[bytes]]:
    """Opens a file that gets its name once it is complete."""
    with tempfile.NamedTemporaryFile(dir=note.parent, delete=False) as file:
        try:
            yield file.file
            Path(file.name).replace(note)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def _digest(
    surgery: Surgery, sizes: Mapping[str, Sequence[int]], offsets: Mapping[str, FloatArray]
) -> str:
    digest = hashlib.sha256(surgery.hollow.SerializeToString(deterministic=True))
    for name in sizes:
        digest.update(name.encode())
        digest.update(offsets[name].tobytes() if name in offsets else b"")
    return digest.hexdigest()


def _measure(
    moments: Mapping[str, Moments],
    surgery: Surgery,
    products: Sequence[Product],
    settings: QuantizeSettings,
    offsets: Mapping[str, FloatArray],
) -> None:
    """Fills in moments that are zero."""
    seen = dict.fromkeys(moments, 0)
    for rows in activations(surgery, products, settings, _TOKENS):
        for name, values in rows.items():
            seen[name] += len(values)
            moved = values - offsets[name] if name in offsets else values
            for index, window in enumerate(moments[name].windows):
                piece = moved[:, index * _WINDOW :][:, : len(window)]
                np.add(window, piece.T @ piece, out=window)
    for name, moment in moments.items():
        for window in moment.windows:
            np.divide(window, max(1, seen[name]), out=window)


def _split(
    numbers: npt.NDArray[np.float32], sizes: Mapping[str, Sequence[int]]
) -> dict[str, Moments]:
    """Returns each activation's windows, as parts of an array."""
    moments: dict[str, Moments] = {}
    start = 0
    for name, found in sizes.items():
        windows = []
        for size in found:
            windows.append(numbers[start : start + size * size].reshape(size, size))
            start += size * size
        moments[name] = Moments(tuple(windows))
    return moments
