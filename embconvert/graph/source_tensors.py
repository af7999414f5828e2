"""Weights of a graph that stay in the source's own files: a graph file of kilobytes for any model.

Between stages that end in smaller weights, a float32 file of them would be written only to be
read again. Such an intermediate graph has a file beside it that says where each weight lies in the
source, in which precision, and whether it is transposed. It is never published.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embconvert.processes.mappings import MappedRange

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch

_KEY = "embconvert.place"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a weight lies.

    Attributes:
        file: The absolute path.
        offset: In bytes.
        dtype: float32, float16 or bfloat16.
        shape: As it lies there.
        permutation: Of its axes in the graph; None leaves them.
    """

    file: str
    offset: int
    dtype: str
    shape: tuple[int, ...]
    permutation: tuple[int, ...] | None = None

    @property
    def nbytes(self) -> int:
        """Its size there."""
        return math.prod(self.shape) * (4 if self.dtype == "float32" else 2)

    def read(self, rows: slice = slice(None)) -> npt.NDArray[np.float32]:
        """Returns the weight in float32, or some rows as they lie there; mapped where it lies so.

        Args:
            rows: Others are not read.
        """
        kind = np.uint16 if self.dtype == "bfloat16" else np.dtype(self.dtype)
        array: Any = np.memmap(self.file, kind, "r", self.offset, self.shape)[rows]
        if self.dtype == "bfloat16":  # the upper half of a float32
            wide = array.astype(np.uint32)
            wide <<= 16
            array = wide.view(np.float32)
        values: npt.NDArray[np.float32] = np.asarray(array).astype(np.float32, copy=False)
        return values if self.permutation is None else values.transpose(self.permutation)


def place_of(stored: "torch.Tensor", files: Iterable[MappedRange]) -> Place | None:
    """Returns where a mapped tensor lies, or None when it is not mapped from a file as it is.

    Args:
        stored: The tensor, however transformers renamed or split what its file has.
        files: What the kernel says that this process has mapped.
    """
    if not stored.is_contiguous() or stored.device.type != "cpu":
        return None
    address = stored.data_ptr()
    for part in files:
        if part.start <= address < part.end:
            return Place(
                file=part.path,
                offset=part.offset + address - part.start,
                dtype=str(stored.dtype).removeprefix("torch."),
                shape=tuple(stored.shape),
            )
    return None


def transposed(place: Place | None, permutation: tuple[int, ...]) -> Place | None:
    """Returns the place of a weight whose axes the graph permutes."""
    if place is None or place.permutation is not None:
        return None
    return Place(**{**asdict(place), "permutation": permutation})


def mark(tensor: "ir.LazyTensor", place: Place | None) -> "ir.LazyTensor":
    """Notes where a tensor's data comes from."""
    if place is not None:
        tensor.meta[_KEY] = place
    return tensor


def marked(tensor: Any) -> Place | None:
    """Returns what mark() noted."""
    place: Place | None = getattr(tensor, "meta", {}).get(_KEY)
    return place


def places_file(path: Path) -> Path:
    """Returns the file beside a graph that says where its weights lie."""
    return path.with_name(path.name + ".places.json")


def write_places(path: Path, places: Mapping[str, Place]) -> None:
    """Writes it."""
    content = {name: asdict(place) for name, place in places.items()}
    places_file(path).write_text(json.dumps(content), encoding="utf-8")


def _weight(name: str, place: Place, shape: "ir.Shape") -> "ir.LazyTensor":
    import onnx_ir as ir

    from embconvert.graph.rows_tensor import RowsTensor

    if place.permutation is None and shape:
        return RowsTensor(place.read, ir.DataType.FLOAT, shape=shape, name=name)
    return ir.LazyTensor(lambda: ir.Tensor(place.read()), ir.DataType.FLOAT, shape=shape, name=name)


def read_places(path: Path) -> "dict[str, ir.LazyTensor]":
    """Returns the weights that lie elsewhere, by name; none where nothing lies elsewhere."""
    import onnx_ir as ir

    if not places_file(path).is_file():
        return {}
    tensors = {}
    for name, fields in json.loads(places_file(path).read_text(encoding="utf-8")).items():
        permutation = fields["permutation"]
        place = Place(
            file=fields["file"],
            offset=fields["offset"],
            dtype=fields["dtype"],
            shape=tuple(fields["shape"]),
            permutation=None if permutation is None else tuple(permutation),
        )
        shape = [place.shape[axis] for axis in place.permutation or range(len(place.shape))]

        tensors[name] = mark(_weight(name, place, ir.Shape(shape)), place)
    return tensors
