"""What a graph's values are like on the calibration texts; of a large model noted for all recipes.

A pass over the texts takes about as long as the rest of a recipe. So whatever first looks at a
large model notes all that any recipe asks, in the folder for temporary files, and the next recipe
for the same graph takes it from there.
"""

import fcntl
import hashlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Any, Self

import numpy as np

from embconvert.graph.runtime import plain_options
from embconvert.graph.segments import PiecewiseGraph
from embconvert.quantize.activations import affordable_tokens, calibration_values, rows_of
from embconvert.quantize.blocks import FloatArray
from embconvert.quantize.element_types import element_types
from embconvert.quantize.settings import QuantizeSettings
from embconvert.quantize.surgery import Surgery

# Means are settled after these; matrices of moments and extreme values want more.
_MEAN_TOKENS = 1024
# Masks add float32's lowest number, which is minus infinity in half precision, and a fully masked
# row of those is not a number. This is what onnxconverter-common clips weights to as well.
_LOWEST = -1e4


@dataclass
class ChannelSums:
    """Of an activation's rows.

    Attributes:
        sums: Of the values and of their squares, (2, channels) float64.
        ends: The lowest and the highest value, and of 0, (2, channels) float32.
        rows: How many there were.
    """

    sums: Any
    ends: Any
    rows: int = 0

    @classmethod
    def none(cls, width: int) -> Self:
        """Returns those of no rows."""
        return cls(np.zeros((2, width)), np.zeros((2, width), np.float32))

    def add(self, values: FloatArray) -> None:
        """Adds rows, (rows, channels) float32."""
        self.rows += len(values)
        self.sums += values.sum(axis=0), np.einsum("ij,ij->j", values, values)
        low, high = self.ends
        np.minimum(low, values.min(axis=0, initial=0), out=low)
        np.maximum(high, values.max(axis=0, initial=0), out=high)


class _Aspect(Enum):
    PEAKS = auto()
    CHANNELS = auto()


@dataclass
class _Observed:
    peaks: dict[str, float] = field(default_factory=dict)
    channels: dict[str, ChannelSums] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Writes it; a file that is there is whole."""
        arrays: dict[str, Any] = {
            "values": list(self.peaks),
            "peaks": list(self.peaks.values()),
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
        """Reads it."""
        with np.load(path) as found:
            peaks = dict(zip(found["values"].tolist(), found["peaks"].tolist(), strict=True))
            rows = found["rows"].tolist()
            channels = {
                name: ChannelSums(found[f"sums{n}"], found[f"ends{n}"], rows[n])
                for n, name in enumerate(found["activations"].tolist())
            }
        return cls(peaks, channels)


def peaks(surgery: Surgery, settings: QuantizeSettings) -> Mapping[str, float]:
    """Returns the largest absolute value of each float32 value that nodes make, by name.

    Masks are taken for as low as half precision can hold them. Call it, as channel_sums, before the
    surgery changes anything.
    """
    return _observe(surgery, settings, _Aspect.PEAKS).peaks


def channel_sums(surgery: Surgery, settings: QuantizeSettings) -> Mapping[str, ChannelSums]:
    """Returns the sums of all that is multiplied with a constant matrix, by name.

    Rows of padding do not count; about as many tokens are read as settle a mean.
    """
    return _observe(surgery, settings, _Aspect.CHANNELS).channels


def _observe(surgery: Surgery, settings: QuantizeSettings, aspect: _Aspect) -> _Observed:
    products = surgery.products()
    widths = {product.activation: product.matrix.shape[1] for product in products}
    weight_bytes = sum({p.matrix.name: p.matrix.tensor.nbytes for p in products}.values())
    tokens = affordable_tokens(weight_bytes)
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
    """Waits while another process is about to write a note; without locks both write the same."""
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
    """Runs about so many tokens of the calibration texts.

    Args:
        surgery: Has the graph, as it was.
        settings: Has the texts.
        widths: Channels of what is multiplied, by name.
        aspects: What to look at.
        tokens: How many.
    """
    hollow = with_raised_lowest(surgery.hollow)
    largest: dict[str, str] = {}
    if _Aspect.PEAKS in aspects:
        hollow, largest = _with_peaks(hollow)
    if _Aspect.CHANNELS not in aspects:
        widths = {}
    graph = PiecewiseGraph(
        hollow,
        surgery.hollow_weights,
        settings.mapping_folder(surgery.path),
        # What is fused depends on what is asked for, and must not.
        options=plain_options,
        wanted=sorted({*widths, *largest}),
    )
    found = _Observed(channels={name: ChannelSums.none(width) for name, width in widths.items()})
    for made, mask in calibration_values(graph, settings, tokens):
        for name, values in made.items():
            if name in largest:
                known = found.peaks.get(largest[name], 0.0)
                found.peaks[largest[name]] = max(known, float(values))
            else:
                found.channels[name].add(rows_of(values, mask, widths[name]))
    return found


def _with_peaks(hollow: Any) -> tuple[Any, dict[str, str]]:
    """Returns a copy of a graph that makes each value's largest one, and of which by its name."""
    from onnx import ModelProto, TensorProto, helper

    types = element_types(hollow)
    largest: dict[str, str] = {}
    probe = ModelProto()
    probe.CopyFrom(hollow)
    del probe.graph.node[:]
    for node in hollow.graph.node:
        probe.graph.node.append(node)
        for name in node.output:
            if name and types.get(name) == TensorProto.FLOAT:
                size = helper.make_node("Abs", [name], [f"{name}/size"])
                peak = helper.make_node("ReduceMax", size.output, [f"{name}/largest"], keepdims=0)
                probe.graph.node.extend([size, peak])
                largest[f"{name}/largest"] = name
    return probe, largest


def with_raised_lowest(hollow: Any) -> Any:
    """Returns a copy of a graph in which scalars below half precision's lowest are -10000."""
    from onnx import ModelProto, TensorProto, numpy_helper

    model = ModelProto()
    model.CopyFrom(hollow)
    tensors = [a.t for n in model.graph.node if n.op_type == "Constant" for a in n.attribute]
    for tensor in [*tensors, *model.graph.initializer]:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims, dtype=int) > 1:
            continue
        value = numpy_helper.to_array(tensor)
        if value.size and value.min() < -6e4:
            tensor.CopyFrom(numpy_helper.from_array(np.maximum(value, _LOWEST), tensor.name))
    return model
