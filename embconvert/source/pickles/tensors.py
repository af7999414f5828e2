"""The tensors of a file of torch.save(), as offsets and strides in the file."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from embconvert.errors import SourceError
from embconvert.source.pickles.archive import Member, read_archive
from embconvert.source.pickles.refusals import corrupt, refused
from embconvert.source.pickles.state_dict import Storage, View, read_state_dict
from embconvert.user_files import UnreadableFileError, open_user_file

# A thousand tensors take 100 kB.
_MAX_PICKLE_BYTES = 1 << 24
_BYTES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "bool": 1,
}  # fmt: skip
_ZIP = b"PK\3\4"
#: torch's former format starts with this number, pickled.
_FORMER_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257
# Writes all pickled weights of a folder to one file, which takes precedence over them.
_CONVERT = (
    'python -c "import glob, torch; from safetensors.torch import save_file; '
    "save_file({n: t.clone(memory_format=torch.contiguous_format) "
    "for f in sorted(glob.glob('pytorch_model*.bin')) "
    "for n, t in torch.load(f, map_location='cpu', weights_only=True).items()}, "
    """'model.safetensors', {'format': 'pt'})\""""
)


@dataclass(frozen=True, kw_only=True)
class PickledTensor:
    """A tensor in a file.

    Attributes:
        offset: In the file, in bytes.
        strides: In numbers; of a contiguous tensor or of one with permuted axes.
    """

    offset: int
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def numbers(self) -> int:
        """The number of elements, which have no gaps between them."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The size in the file."""
        return self.numbers * _BYTES[self.dtype]


def read_pickle(path: Path) -> Mapping[str, PickledTensor]:
    """Returns the tensors of a file by name, without reading their numbers.

    Raises SourceError if it is not in the zip format of torch.save() since torch 1.6, or damaged,
    or has anything but tensors.
    """
    try:
        with open_user_file(path) as stream:
            _refuse_other_formats(stream, path)
            entries = read_archive(stream, path.name)
            prefix = _prefix(entries, path.name)
            views = read_state_dict(
                _content(stream, entries[f"{prefix}data.pkl"], path.name), path.name
            )
            order = entries.get(f"{prefix}byteorder")
            if order is not None and _content(stream, order, path.name) != b"little":
                raise refused(path.name, "was written on a machine with another order of bytes")
    except UnreadableFileError as error:
        raise SourceError(f"{path} {error}", "check the path and its permissions") from error
    offsets = _offsets(views.values(), entries, prefix, path.name)
    _refuse_overlaps(views, path.name)
    return {
        name: PickledTensor(
            offset=offsets[view.storage.key] + view.offset * _BYTES[view.storage.dtype],
            dtype=view.storage.dtype,
            shape=view.shape,
            strides=view.strides,
        )
        for name, view in views.items()
    }


def _refuse_other_formats(stream: BinaryIO, path: Path) -> None:
    beginning = stream.read(_TAR_MAGIC_AT + len(_TAR_MAGIC))
    if beginning.startswith(_FORMER_MAGIC):
        raise SourceError(
            f"{path.name} is in the format of torch before 1.6, which cannot be mapped",
            f"run this in {path.parent}, then give the model's folder as --model_id: {_CONVERT}",
        )
    if beginning[_TAR_MAGIC_AT:] == _TAR_MAGIC:
        raise SourceError(
            f"{path.name} is in the format of torch before 0.1.10, which cannot be read without "
            "running what is in it",
            "give a newer copy of the model",
        )
    if not beginning.startswith(_ZIP):
        raise corrupt(path.name, "it is not a file that torch.save() wrote")


def _content(stream: BinaryIO, entry: Member, file: str) -> bytes:
    if entry.size > _MAX_PICKLE_BYTES:
        raise refused(file, f"has a pickle of {entry.size / 1e6:.0f} MB in it")
    stream.seek(entry.offset)
    return stream.read(entry.size)


def _prefix(entries: Iterable[str], file: str) -> str:
    """Returns the common folder of an archive's entries, whose name varies."""
    first = {name.partition("/")[0] for name in entries}
    prefix = f"{first.pop()}/" if len(first) == 1 else ""
    if f"{prefix}data.pkl" not in entries:
        raise corrupt(file, "it is not a file that torch.save() wrote")
    if f"{prefix}constants.pkl" in entries:
        raise refused(file, "is a program (TorchScript)")
    return prefix


def _offsets(
    views: Iterable[View], entries: Mapping[str, Member], prefix: str, file: str
) -> dict[str, int]:
    """Returns each storage's offset in the file, by key; raises SourceError if one is damaged."""
    storages: dict[str, Storage] = {}
    offsets = {}
    for storage in (view.storage for view in views):
        if storages.setdefault(storage.key, storage) != storage:
            raise refused(file, f"has two types of tensors in its storage {storage.key}")
        entry = entries.get(f"{prefix}data/{storage.key}")
        if entry is None:
            raise corrupt(file, f"its storage {storage.key} is missing")
        if entry.size != storage.numbers * _BYTES[storage.dtype]:
            raise corrupt(file, f"its storage {storage.key} has another size than it says")
        offsets[storage.key] = entry.offset
    return offsets


def _refuse_overlaps(views: Mapping[str, View], file: str) -> None:
    """Refuses tensors with gaps, outside their storage, or that overlap.

    Tensors that are the same view of a storage are allowed: tied weights.
    """
    by_storage: dict[str, dict[View, str]] = {}
    for name, view in views.items():
        shown = f"tensor {name[:100]!r}"
        if not _is_dense(view):
            raise refused(
                file, f"has the {shown} with gaps or repetitions (strides {view.strides})"
            )
        if view.offset + math.prod(view.shape) > view.storage.numbers:
            raise corrupt(file, f"its {shown} goes on beyond its storage")
        if math.prod(view.shape):
            by_storage.setdefault(view.storage.key, {}).setdefault(view, name)
    for distinct in by_storage.values():
        behind = 0
        for view, name in sorted(distinct.items(), key=lambda item: item[0].offset):
            if view.offset < behind:
                raise refused(file, f"has the tensor {name[:100]!r} across another")
            behind = view.offset + math.prod(view.shape)


def _is_dense(view: View) -> bool:
    """Whether a tensor's numbers have no gaps, in any order of the axes."""
    if not math.prod(view.shape):
        return True
    step = 1
    # The stride of an axis of size 1 is never used and can be anything.
    axes = [axis for axis in zip(view.strides, view.shape, strict=True) if axis[1] != 1]
    for stride, size in sorted(axes):
        if stride != step:
            return False
        step *= size
    return True
