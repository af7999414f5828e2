"""Graphs whose weights stay in the source's files.

For intermediate graphs, a float32 file would be written only to be read again. Instead, a file next
to the graph has the position of each weight in the source, its precision, and whether it is
transposed; of a weight with which adapters are merged, also the positions of theirs. Such graphs
are never published.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embconvert.processes.mappings import MappedRange, is_unchanged

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch

_KEY = "embconvert.place"
# Rows that are merged with an adapter at once, to bound the memory for the product.
_MERGED_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class WeightLocation:
    """The location of a weight in a file.

    Attributes:
        file: Absolute path.
        offset: In bytes.
        dtype: float32, float16 or bfloat16.
        shape: In the file.
        permutation: Of its axes in the graph; None means none.
        updates: Of adapters, which are merged in this order before the axes are permuted.
    """

    file: str
    offset: int
    dtype: str
    shape: tuple[int, ...]
    permutation: tuple[int, ...] | None = None
    updates: "tuple[LowRankUpdate, ...]" = ()

    @property
    def nbytes(self) -> int:
        """In the file."""
        return math.prod(self.shape) * (4 if self.dtype == "float32" else 2)

    def read(self, rows: slice = slice(None)) -> npt.NDArray[np.float32]:
        """Returns the weight, or some rows of the file, in float32; mapped if possible."""
        kind = np.uint16 if self.dtype == "bfloat16" else np.dtype(self.dtype)
        array: Any = np.memmap(self.file, kind, "r", self.offset, self.shape)
        if self.shape:  # a single number has no rows
            array = array[rows]
        if self.dtype == "bfloat16":  # the upper half of a float32
            wide = array.astype(np.uint32)
            wide <<= 16
            array = wide.view(np.float32)
        values: npt.NDArray[np.float32] = np.asarray(array).astype(np.float32, copy=False)
        for update in self.updates:
            values = update.merged_with(values, rows)
        return values if self.permutation is None else values.transpose(self.permutation)


@dataclass(frozen=True, kw_only=True)
class LowRankUpdate:
    """The product of two small matrices, which is added to a weight (LoRA).

    Attributes:
        left: (rows, rank), of the weight's rows.
        right: (rank, columns).
        scale: Of the product.
        magnitude: The norm of each row of the sum (DoRA), (rows,); None leaves them as they are.
    """

    left: WeightLocation
    right: WeightLocation
    scale: float
    magnitude: WeightLocation | None = None

    def merged_with(
        self, values: npt.NDArray[np.float32], rows: slice = slice(None)
    ) -> npt.NDArray[np.float32]:
        """Returns a new array: these rows of a weight with the update.

        The sum is rounded once, from float64, so that it does not depend on how many rows are
        computed at once.
        """
        left = self.left.read()[rows].astype(np.float64)
        right = self.right.read().astype(np.float64)
        norms = None if self.magnitude is None else self.magnitude.read()[rows].astype(np.float64)
        merged = np.empty_like(values)
        for first in range(0, len(values), _MERGED_AT_ONCE):
            part = slice(first, first + _MERGED_AT_ONCE)
            total = values[part] + (left[part] @ right) * self.scale
            if norms is not None:
                total *= (norms[part] / np.linalg.norm(total, axis=1))[:, None]
            merged[part] = total
        return merged


def place_of(stored: "torch.Tensor", files: Iterable[MappedRange]) -> WeightLocation | None:
    """Returns the location of a tensor, or None if it is not mapped from a file unchanged."""
    if not stored.is_contiguous() or stored.device.type != "cpu":
        return None
    address = stored.data_ptr()
    for part in files:
        if part.start <= address < part.end:
            if not is_unchanged(part, address, stored.numel() * stored.element_size()):
                return None
            return WeightLocation(
                file=part.path,
                offset=part.offset + address - part.start,
                dtype=str(stored.dtype).removeprefix("torch."),
                shape=tuple(stored.shape),
            )
    return None


def transposed(place: WeightLocation | None, permutation: tuple[int, ...]) -> WeightLocation | None:
    """Returns the location of a weight whose axes are permuted in the graph."""
    if place is None or place.permutation is not None:
        return None
    return replace(place, permutation=permutation)


def mark(tensor: "ir.LazyTensor", place: WeightLocation | None) -> "ir.LazyTensor":
    """Stores the location of a tensor's data."""
    if place is not None:
        tensor.meta[_KEY] = place
    return tensor


def marked(tensor: Any) -> WeightLocation | None:
    """Returns the location stored by mark()."""
    place: WeightLocation | None = getattr(tensor, "meta", {}).get(_KEY)
    return place


def places_file(path: Path) -> Path:
    """Returns the file with the locations of a graph's weights."""
    return path.with_name(path.name + ".places.json")


def write_places(path: Path, places: Mapping[str, WeightLocation]) -> None:
    content = {name: asdict(place) for name, place in places.items()}
    places_file(path).write_text(json.dumps(content), encoding="utf-8")


def _weight(name: str, place: WeightLocation, shape: "ir.Shape") -> "ir.LazyTensor":
    import onnx_ir as ir

    from embconvert.graph.rows_tensor import RowsTensor

    if place.permutation is None and shape:
        return RowsTensor(place.read, ir.DataType.FLOAT, shape=shape, name=name)
    return ir.LazyTensor(lambda: ir.Tensor(place.read()), ir.DataType.FLOAT, shape=shape, name=name)


def read_places(path: Path) -> "dict[str, ir.LazyTensor]":
    """Returns a graph's weights in other files, by name."""
    import onnx_ir as ir

    if not places_file(path).is_file():
        return {}
    tensors = {}
    for name, fields in json.loads(places_file(path).read_text(encoding="utf-8")).items():
        place = _location(fields)
        shape = [place.shape[axis] for axis in place.permutation or range(len(place.shape))]

        tensors[name] = mark(_weight(name, place, ir.Shape(shape)), place)
    return tensors


def _location(fields: Mapping[str, Any]) -> WeightLocation:
    """Returns the location of which asdict() gave the fields."""
    permutation = fields["permutation"]
    return WeightLocation(
        file=fields["file"],
        offset=fields["offset"],
        dtype=fields["dtype"],
        shape=tuple(fields["shape"]),
        permutation=None if permutation is None else tuple(permutation),
        updates=tuple(
            LowRankUpdate(
                left=_location(update["left"]),
                right=_location(update["right"]),
                scale=update["scale"],
                magnitude=None if (size := update["magnitude"]) is None else _location(size),
            )
            for update in fields["updates"]
        ),
    )
