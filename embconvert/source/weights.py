"""A model's weight files: found and counted, not read; pickles refused."""

import math
from pathlib import Path

from embconvert.errors import SourceError, UnsupportedModelError
from embconvert.json_files import read_json, unreadable

# Of any file system.
_MAX_NAME_BYTES = 255
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def weight_files(root: Path) -> list[Path]:
    """Returns the transformer's weight files, with the index of sharded ones.

    Raises:
        SourceError: There are none, a shard is missing, or they are pickles.
    """
    single, index = root / "model.safetensors", root / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if index.is_file():
        weight_map = read_json(index).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise SourceError(f"{index.name} has no weight_map", "download the model again")
        shards = sorted({str(name) for name in weight_map.values()})
        for name in shards:
            if Path(name).name != name:
                raise SourceError(
                    f"{index.name} names {name!r}, outside the model's folder",
                    "do not use this model; it reaches for files that are not its own",
                )
            if len(name.encode("utf-8", "replace")) > _MAX_NAME_BYTES or "\0" in name:
                raise SourceError(
                    f"{index.name} names {name[:50]!r}, which can be no file's name",
                    "download the model again",
                )
            if not name.endswith(".safetensors"):
                raise pickle_error(name)
            if not (root / name).is_file():
                raise SourceError(
                    f"{name} is missing, one of {len(shards)} files of weights",
                    "download the model again",
                )
        return [index, *(root / name for name in shards)]
    if (root / "adapter_model.safetensors").is_file():
        raise UnsupportedModelError(
            "the folder has only an adapter (PEFT)", "merge it into its base model and save that"
        )
    pickles = sorted(f.name for f in root.iterdir() if f.suffix in PICKLE_SUFFIXES)
    if pickles:
        raise pickle_error(pickles[0])
    raise SourceError(
        f"{root} has no weights: model.safetensors is missing", "download the model again"
    )


def pickle_error(name: str) -> SourceError:
    """Returns the error for weights in a pickle."""
    return SourceError(
        f"the weights come only as a pickle ({name}), which can run code when it is read",
        "on a machine that may run it, load the model and call "
        "save_pretrained(folder, safe_serialization=True); then convert that folder",
    )


def count_parameters(path: Path) -> int:
    """Returns how many numbers a file of weights has.

    A file whose header and length disagree is refused; the library checks overlaps and bounds.

    Raises:
        SourceError: The file is truncated or corrupt.
    """
    return sum(math.prod(shape) for shape in _shapes(path))


def count_tensors(path: Path) -> int:
    """Returns how many tensors a file of weights has; raises as count_parameters."""
    return len(_shapes(path))


def _shapes(path: Path) -> list[list[int]]:
    from safetensors import SafetensorError, safe_open

    try:
        path.open("rb").close()  # safetensors calls what it may not read absent
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        with safe_open(path, framework="np") as weights:
            return [weights.get_slice(name).get_shape() for name in weights.keys()]  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise SourceError(
            f"{path.name} is truncated or corrupt: {error}", "download the model again"
        ) from error
