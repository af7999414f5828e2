"""Stand-ins for weight files: the libraries get the tensors and never see the files.

The libraries would unpickle them. The folder from which they load a model has a safetensors file
without tensors instead; when they open it, they get tensors that are mapped from the pickles. A
library that opens it in any other way finds no weights, and says so. Real safetensors files would
take the same space on disk again: the format cannot refer to other files, and allows no gaps
between tensors, as a zip archive has.

Weights with adapters inside have stand-ins, too: the libraries know neither the adapters nor the
names that the other weights have beside them.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from embconvert.models.values import ResolvedModel
from embconvert.source.parametrizations import without_factors
from embconvert.source.pickles.tensors import PickledTensor, read_pickle
from embconvert.source.weights import WEIGHT_NAMES, is_pickle

if TYPE_CHECKING:
    import torch

_NAME = WEIGHT_NAMES[0][0]


def stand_ins(resolved: ResolvedModel) -> Mapping[str, Sequence[str]]:
    """Returns the paths of a model's stand-ins, each with the paths of the files it stands for."""
    found: dict[str, list[str]] = {}
    for file in resolved.files:
        path = PurePosixPath(file.path)
        if is_pickle(file.path):
            found.setdefault((path.parent / _NAME).as_posix(), []).append(file.path)
        elif resolved.has_inner_adapters and file.path == _NAME:
            found[file.path] = [file.path]
    return found


def write_stand_in(path: Path) -> None:
    """Writes a safetensors file without tensors."""
    header = json.dumps({"__metadata__": {"format": "pt"}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)


@contextlib.contextmanager
def opening_stand_ins(resolved: ResolvedModel, folder: Path) -> Iterator[None]:
    """Makes the libraries find the files' tensors in the stand-ins of a private copy.

    Raises SourceError if a pickle has changed since the model was resolved.
    """
    import safetensors.torch
    from transformers import modeling_utils

    tensors = {
        (folder / stand_in).resolve(): mapped_tensors([resolved.path(path) for path in paths])
        for stand_in, paths in stand_ins(resolved).items()
    }
    if resolved.has_inner_adapters:
        tensors = {stand_in: without_factors(found) for stand_in, found in tensors.items()}
    # transformers and sentence-transformers open all safetensors files through these.
    users = (modeling_utils, safetensors.torch)
    originals = [user.safe_open for user in users]
    for user, original in zip(users, originals, strict=True):
        user.safe_open = _opener(original, tensors)
    try:
        yield
    finally:
        for user, original in zip(users, originals, strict=True):
            user.safe_open = original


def _opener(
    original: Callable[..., Any], tensors: "Mapping[Path, Mapping[str, torch.Tensor]]"
) -> Callable[..., Any]:
    def safe_open(filename: Any, *arguments: Any, device: Any = "cpu", **named: Any) -> Any:
        found = tensors.get(Path(filename).resolve())
        if found is None:
            return original(filename, *arguments, device=device, **named)
        return _OpenStandIn(found, device)

    return safe_open


class _OpenStandIn:
    """The part of safetensors.safe_open's interface that the libraries use."""

    def __init__(self, tensors: "Mapping[str, torch.Tensor]", device: Any) -> None:
        self._tensors = tensors
        self._device = device

    def __enter__(self) -> "_OpenStandIn":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def keys(self) -> list[str]:
        return list(self._tensors)

    def get_tensors(self) -> "dict[str, torch.Tensor]":
        return {name: self.get_tensor(name) for name in self._tensors}

    def get_tensor(self, name: str) -> "torch.Tensor":
        return self._tensors[name].to(self._device)

    # transformers only slices it, which a tensor can do as well.
    get_slice = get_tensor


def mapped_tensors(files: Sequence[Path]) -> "dict[str, torch.Tensor]":
    """Returns the tensors of weight files by name; as in transformers, later shards win.

    Raises:
        SourceError: A file is broken, or has anything but tensors.
    """
    import torch
    from safetensors import safe_open

    found: dict[str, torch.Tensor] = {}
    for file in files:
        if file.suffix == ".safetensors":
            with safe_open(file, framework="pt") as opened:
                found |= opened.get_tensors()
            continue
        whole = torch.from_file(
            str(file.resolve()), shared=False, size=file.stat().st_size, dtype=torch.uint8
        )
        found |= {name: _view(whole, tensor) for name, tensor in read_pickle(file).items()}
    return found


def _view(whole: "torch.Tensor", tensor: PickledTensor) -> "torch.Tensor":
    import torch

    dtype = getattr(torch, tensor.dtype)
    numbers = whole[tensor.offset : tensor.offset + tensor.nbytes]
    if tensor.offset % dtype.itemsize:  # torch aligns tensors, other zip tools may not
        numbers = numbers.clone()
    return numbers.view(dtype).as_strided(tensor.shape, tensor.strides)
