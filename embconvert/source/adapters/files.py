"""An adapter's files: where they are, and whether they may be read."""

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from embconvert.errors import SourceError, UnsupportedModelError, UsageError
from embconvert.graph.streams import hash_file
from embconvert.models.adapters import ADAPTER_FILE
from embconvert.models.source_records import AdapterRecord, FileRecord
from embconvert.models.values import ResolvedAdapter
from embconvert.source.adapters.config import read_settings
from embconvert.source.adapters.inside import folded
from embconvert.source.card import read_card
from embconvert.source.distrust import refuse_escapes, refuse_special_files
from embconvert.source.private_copy import TOKENIZER_DATA, TOKENIZER_FILES
from embconvert.source.settings.routes import read_modules
from embconvert.source.weights import ADAPTER_WEIGHTS, WEIGHT_NAMES, count_parameters, weight_files

#: Of the base model's transformer, apart from its weights.
_OF_BASE = ("config.json",)
_OF_TOKENIZER = (
    *TOKENIZER_DATA, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
)  # fmt: skip


def adapter_place(folder: Path) -> str | None:
    """Returns where in a folder its only weights, an adapter, are; None for a whole model."""
    modules = read_modules(folder)
    for place in dict.fromkeys(("", modules[0].path if modules else "")):
        root = folder / place
        if (root / ADAPTER_FILE).is_file() and not has_weights(root):
            return place
    return None


def has_weights(root: Path) -> bool:
    """Whether a folder has a whole model's weights."""
    return any((root / name).is_file() for names in WEIGHT_NAMES for name in names)


def refuse_adapter(root: Path, model_id: str) -> None:
    """Raises UnsupportedModelError for an adapter beside a whole model, which may have it."""
    if not (root / ADAPTER_FILE).is_file():
        return
    raise UnsupportedModelError(
        f"{model_id} has both a model's weights and an adapter (PEFT), {ADAPTER_FILE}",
        f"remove {ADAPTER_FILE} from a copy to convert the model without it; to merge it, move it "
        f"and {' or '.join(ADAPTER_WEIGHTS)} to another folder, and add --adapter ./FOLDER",
    )


def own_places(files: Iterable[str]) -> tuple[str, ...]:
    """Returns the folders of adapters among a model's own files, given by their paths."""
    found = (PurePosixPath(file) for file in files)
    return tuple(
        sorted(
            path.parent.as_posix()
            for path in found
            if path.name == ADAPTER_FILE and 2 <= len(path.parts) <= 3
        )
    )


def local_files(folder: Path) -> list[str]:
    """Returns the paths of adapter_config.json in a local folder."""
    found = [*folder.glob(f"*/{ADAPTER_FILE}"), *folder.glob(f"*/*/{ADAPTER_FILE}")]
    return [path.relative_to(folder).as_posix() for path in found]


def own_place(name: str, places: Iterable[str]) -> str | None:
    """Returns the folder of one of a model's own adapters; None if there is none of the name.

    jina's names of tasks have dots where its folders have underscores. Raises UsageError if there
    are several.
    """
    found = [place for place in places if folded(PurePosixPath(place).name) == folded(name)]
    if len(found) > 1:
        raise UsageError(
            f"--adapter {name}: the model has several such folders: {', '.join(found)}",
            "download the model, and give one of them as --adapter ./FOLDER",
        )
    return found[0] if found else None


def needed_of_adapter(place: str, names: Iterable[str]) -> set[str]:
    """Returns the paths of an adapter's settings and tensors among a repository's files."""
    names = set(names)
    prefix = f"{place}/" if place else ""
    weights = [prefix + name for name in ADAPTER_WEIGHTS if prefix + name in names]
    return {prefix + ADAPTER_FILE, *weights[:1]} & names


def resolve_adapter(
    folder: Path,
    place: str,
    *,
    name: str,
    revision: str | None,
    weight: float,
    is_model: bool = False,
    sha256: Mapping[str, str] = MappingProxyType({}),
) -> ResolvedAdapter:
    """Reads and checks an adapter's files, at a place in a folder; "" is the folder itself.

    Raises SourceError if a file is missing or broken, and UnsupportedModelError if it cannot be
    merged exactly.
    """
    root = folder / place
    if not (root / ADAPTER_FILE).is_file():
        raise SourceError(
            f"{name} is no adapter: it has no {ADAPTER_FILE}",
            "give a folder or hub id of an adapter that PEFT saved",
        )
    refuse_special_files(root)
    found = [root / file for file in ADAPTER_WEIGHTS if (root / file).is_file()]
    if not found:
        raise SourceError(
            f"the adapter {name} has no {' or '.join(ADAPTER_WEIGHTS)}", "download it again"
        )
    files = (root / ADAPTER_FILE, found[0])
    refuse_escapes(folder, files)
    settings = read_settings(root, name)
    count_parameters(found[0])
    records = []
    for file in files:
        path = file.relative_to(folder).as_posix()
        digest = sha256.get(path) or hash_file(file)
        records.append(FileRecord(path=path, sha256=digest, size_bytes=file.stat().st_size))
    return ResolvedAdapter(
        record=AdapterRecord(
            adapter=name,
            revision=revision,
            weight=weight,
            is_model=is_model,
            card=read_card(folder),
            files=tuple(records),
        ),
        weights=found[0],
        settings=settings,
    )


def instead_of_base(folder: Path, base: Path) -> dict[str, Path]:
    """Returns the files of a sentence-transformers model that was saved as an adapter, by path.

    Its modules, prompts and tokenizer are its own; the transformer's settings and weights, and a
    tokenizer that it lacks, are its base model's.
    """
    modules = read_modules(folder)
    base_modules = read_modules(base)
    place = PurePosixPath(modules[0].path)
    base_root = base / (base_modules[0].path if base_modules else "")
    folders = dict.fromkeys(("", *(module.path for module in modules)))
    found = {
        (PurePosixPath(inner) / path.name).as_posix(): path
        for inner in folders
        if (folder / inner).is_dir()  # git has no empty ones, as a module without settings has
        for path in (folder / inner).iterdir()
        if path.is_file() and path.name not in (*ADAPTER_WEIGHTS, ADAPTER_FILE)
    }
    names = list(_OF_BASE)
    if not any((folder / place / name).is_file() for name in TOKENIZER_FILES):
        names += _OF_TOKENIZER
    names += [file.name for file in weight_files(base_root)]
    for name in names:
        if (base_root / name).is_file():
            found[(place / name).as_posix()] = base_root / name
    return found
