"""A model's weight files: which they are, and how many numbers they have."""

import math
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path, PurePath

from embconvert.errors import SourceError, UnsupportedModelError
from embconvert.json_files import read_json, refuse_lfs_pointer, unreadable
from embconvert.models.other_inputs import reads_text
from embconvert.models.values import ResolvedModel
from embconvert.source.pickles.tensors import read_pickle

#: The names of a folder's weights and of the index of shards, in the libraries' order.
WEIGHT_NAMES = (
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
#: The same of an adapter.
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
PICKLE_SUFFIX = ".bin"
_WEIGHT_SUFFIXES = (".safetensors", PICKLE_SUFFIX)
# Of pickles with other names, which no library loads.
_OTHER_SUFFIXES = (PICKLE_SUFFIX, ".pt", ".pth", ".ckpt", ".pkl")
# Of other programs' weights, which are made of a model's own: its card names the model.
_MADE_OF_OTHERS = (".gguf", ".onnx", ".tflite", ".mlmodel", ".mlpackage")
# Of weights that transformers does not load, or not under their name.
_NOT_LOADED = (*_OTHER_SUFFIXES, *_MADE_OF_OTHERS, ".safetensors", ".h5", ".msgpack", ".ot", ".npz")
# What sentence-transformers calls the folder of a module behind the transformer.
_OF_A_MODULE = re.compile("[1-9][0-9]*_")
# Bytes by which a pointer of Git LFS is known.
_BEGINNING = 100
# The limit of file systems.
_MAX_NAME_BYTES = 255
#: Types of quantized weights, by safetensors' names: of one byte, or several numbers packed in one.
#: Masks of old models are U8, too.
_QUANTIZED = ("I8", "U8", "F8_E4M3", "F8_E5M2", "I16", "U16", "I32", "U32")
#: What programs call such weights: weight, qweight, weight_packed, W_q.
_WEIGHT = re.compile("weight|W_q")
#: What programs call the scales beside a weight: weight_scale, weight_scale_inv, scales, SCB,
#: weight.absmax.
_SCALE = re.compile("scale|SCB|absmax")


def is_weights(name: str) -> bool:
    """Whether a model's file has weights, by its name."""
    return PurePath(name).suffix in _WEIGHT_SUFFIXES


def is_pickle(name: str) -> bool:
    """Whether a model's weight file is a pickle, by its name."""
    return PurePath(name).suffix == PICKLE_SUFFIX


def is_index(name: str) -> bool:
    """Whether a model's file is the index of sharded weights, by its name."""
    return name in (index for _, index in WEIGHT_NAMES)


def weight_files(root: Path) -> list[Path]:
    """Returns the transformer's weight files, and the index if they are sharded.

    Raises SourceError if there are none, or a shard is missing.
    """
    for single, index in WEIGHT_NAMES:
        if (root / single).is_file():
            return [root / single]
        if (root / index).is_file():
            return [root / index, *_shards(root / index, PurePath(single).suffix)]
    raise no_weights(str(root), _names(root))


def refuse_other_models(root: Path) -> None:
    """Refuses a folder that is none of a model, but has others.

    Raises:
        SourceError: It has weights of other programs, such as GGUF and ONNX, or models inside.
    """
    names = _names(root)
    is_made = any(PurePath(name).suffix in _MADE_OF_OTHERS for name in names)
    if is_made or _models_inside(names):
        raise no_weights(str(root), names)


def _names(root: Path) -> list[str]:
    if not root.is_dir():  # modules.json may name a folder that is missing
        return []
    found = [*root.iterdir(), *root.glob("onnx/*")]
    for name in ("config.json", *chain(*WEIGHT_NAMES)):
        found += root.glob(f"*/{name}")
    return [path.relative_to(root).as_posix() for path in found]


def _models_inside(names: Iterable[str]) -> list[str]:
    """Returns the folders of files that are models themselves, such as a trainer's checkpoints."""
    inside = {name for name in names if "/" in name}
    places = {name.rpartition("/")[0] for name in inside}
    return sorted(
        place
        for place in places
        if f"{place}/config.json" in inside
        and any(f"{place}/{name}" in inside for name in chain(*WEIGHT_NAMES))
        and not _OF_A_MODULE.match(PurePath(place).name)
    )


def no_weights(model: str, names: Iterable[str]) -> SourceError:
    """Returns the error for a model without weights that transformers loads.

    Args:
        model: Its name or folder.
        names: Of its files.
    """
    names = sorted(names)
    others = [name for name in names if PurePath(name).suffix in _NOT_LOADED]
    # Those beside config.json first.
    others.sort(key=lambda name: "/" in name)
    hint = (
        "download the model again; or load it with the library that made it, and save it with "
        "save_pretrained(FOLDER)"
    )
    if others and all(PurePath(name).suffix in _MADE_OF_OTHERS for name in others):
        hint = "convert the model of which these files were made; their card mostly names it"
    if inside := _models_inside(names):
        others = []
        hint = (
            f"give the path of its folder {' or '.join(inside[:3])}, which has a model; a hub's "
            "must be downloaded first"
        )
    return SourceError(
        f"{model} has no weights: model.safetensors or pytorch_model.bin is missing"
        + (f"; transformers does not load {others[0]}" if others else ""),
        hint,
    )


def module_weights(folder: Path) -> list[Path]:
    """Returns the weight files of a module after the transformer; many modules have none.

    Raises SourceError if all have names that sentence-transformers does not load.
    """
    found = sorted(path for path in folder.glob("*.safetensors") if path.is_file())
    single, pickle = (folder / names[0] for names in WEIGHT_NAMES)
    if not single.is_file() and pickle.is_file():
        found.append(pickle)
    others = _other_pickles(folder)
    if others and not found:
        raise SourceError(
            f"the weights in {folder.name} are in {others[0]}, but sentence-transformers loads "
            "only model.safetensors and pytorch_model.bin",
            "download the model again; or load it with the library that made it, and save it with "
            "save_pretrained(FOLDER)",
        )
    return found


def _other_pickles(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix in _OTHER_SUFFIXES)


def _shards(index: Path, suffix: str) -> list[Path]:
    """Returns the files in an index.

    Raises:
        SourceError: It has none, or a file is missing, of another format or in another folder.
    """
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise SourceError(f"{index.name} has no weight_map", "download the model again")
    shards = sorted({str(name) for name in weight_map.values()})
    for name in shards:
        if Path(name).name != name:
            raise SourceError(
                f"{index.name} refers to {name!r}, outside the model's folder",
                "do not use this model; it accesses files outside its folder",
            )
        if len(name.encode("utf-8", "replace")) > _MAX_NAME_BYTES or "\0" in name:
            raise SourceError(
                f"{index.name} refers to {name[:50]!r}, which is not a valid file name",
                "download the model again",
            )
        if not name.endswith(suffix):
            raise SourceError(
                f"{index.name} refers to {name}, which is not a {suffix} file",
                "download the model again; all its weight files must have the same format",
            )
        if not (index.parent / name).is_file():
            raise SourceError(
                f"{name} is missing, one of {len(shards)} weight files", "download the model again"
            )
    return [index.parent / name for name in shards]


def mapped_files(resolved: ResolvedModel) -> frozenset[str]:
    """Returns the paths of a model's weight files and its adapters', with links resolved."""
    paths = [resolved.path(file.path) for file in resolved.files if is_weights(file.path)]
    paths += [adapter.weights for adapter in resolved.adapters]
    return frozenset(str(path.resolve()) for path in paths)


def count_parameters(path: Path, *, of_text: bool = False) -> int:
    """Returns the number of parameters in a weight file, or only in parts that read text.

    For safetensors, the library checks the header against the file's length, overlaps and bounds.
    Raises SourceError if the file is truncated or corrupt.
    """
    return sum(math.prod(shape) for shape in _shapes(path, of_text=of_text))


def stored_names(resolved: ResolvedModel) -> Iterator[str]:
    """Yields the names of the tensors in a model's weight files; raises like count_parameters."""
    for path in (resolved.path(file.path) for file in resolved.files if is_weights(file.path)):
        if is_pickle(path.name):
            yield from read_pickle(path)
        else:
            yield from tensor_shapes(path)


def count_tensors(path: Path) -> int:
    """Returns the number of tensors in a weight file; raises like count_parameters."""
    return len(_shapes(path))


def _shapes(path: Path, *, of_text: bool = False) -> list[tuple[int, ...]]:
    def counts(name: str) -> bool:
        return not of_text or reads_text(name)

    if is_pickle(path.name):
        refuse_unreadable(path)
        # Tied weights have several names.
        tensors = {tensor for name, tensor in read_pickle(path).items() if counts(name)}
        return [tensor.shape for tensor in tensors]
    return [shape for name, shape in tensor_shapes(path).items() if counts(name)]


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of a safetensors file's tensors, by name; raises like count_parameters."""
    from safetensors import SafetensorError, safe_open

    refuse_unreadable(path)
    try:
        with safe_open(path, framework="np") as weights:
            names = weights.keys()
            return {name: tuple(weights.get_slice(name).get_shape()) for name in names}
    except (SafetensorError, OSError, ValueError) as error:
        raise SourceError(
            f"{path.name} is truncated or corrupt: {error}", "download the model again"
        ) from error


def refuse_quantized(paths: Iterable[Path]) -> None:
    """Refuses whole files with weights that another program has quantized.

    transformers takes the small numbers for the weights themselves where config.json does not
    declare them, and drops their scales: it gives vectors, which are wrong.

    Raises:
        UnsupportedModelError: There are some, with their scales beside them.
    """
    from safetensors import safe_open

    small: dict[str, tuple[Path, str]] = {}
    scaled: set[str] = set()
    for path in (path for path in paths if not is_pickle(path.name)):
        with safe_open(path, framework="np") as weights:
            for name in weights.keys():  # noqa: SIM118
                place, _, last = name.rpartition(".")
                if _SCALE.search(last):
                    scaled.add(place.removesuffix(".weight"))
                elif _WEIGHT.search(last) and weights.get_slice(name).get_dtype() in _QUANTIZED:
                    small[place] = (path, last)
    for place in sorted(small.keys() & scaled):
        path, last = small[place]
        raise UnsupportedModelError(
            f"{path.name}: the weight {place}.{last} was quantized by another program, and the "
            "libraries would read it without its scales, or not at all",
            "use the original model, whose weights are float32, float16 or bfloat16",
        )


def refuse_unreadable(*paths: Path) -> None:
    """Refuses files without read permission, which safetensors calls missing, and LFS pointers.

    A pointer would also be taken for a list of words.
    """
    for path in paths:
        try:
            with path.open("rb") as stream:
                beginning = stream.read(_BEGINNING)
        except OSError as error:
            raise unreadable(path, error) from error
        refuse_lfs_pointer(beginning, path.name)
