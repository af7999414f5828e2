"""The source model's files on disk: found, read and checked before anything heavy starts."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from embconvert.architectures import read_architecture
from embconvert.errors import SourceError, UnsupportedModelError, UsageError
from embconvert.graph.onnx_file import hash_file
from embconvert.model import FileRecord, ResolvedModel
from embconvert.requests import Request
from embconvert.source.card import read_card
from embconvert.source.distrust import (
    refuse_absurd_sizes,
    refuse_activation,
    refuse_escapes,
    refuse_other_weights,
    refuse_special_files,
)

#: Any one of these lets transformers make a tokenizer.
TOKENIZER_FILES = (
    "tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model",
    "sentencepiece.bpe.model", "spm.model", "bpe.codes",
)  # fmt: skip

#: What is read of the folder of the transformer, beside its weights.
CONFIGURATION_FILES = (
    *TOKENIZER_FILES, "config.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "merges.txt", "vocab.txt", "config_sentence_transformers.json",
    "sentence_bert_config.json", "sentence_roberta_config.json", "sentence_distilbert_config.json",
    "sentence_camembert_config.json", "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json", "sentence_xlnet_config.json", "modules.json",
    "processor_config.json", "preprocessor_config.json",
)  # fmt: skip

_PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_MAX_JSON_BYTES = 1 << 24
# tokenizer_config.json says "unlimited" with numbers such as 1e30.
_UNLIMITED = 1_000_000


@dataclass(frozen=True, kw_only=True)
class ModuleEntry:
    """One line of modules.json.

    Attributes:
        path: The module's folder, relative to the model's; empty for the model's own.
        type: The import path of its class.
    """

    path: str
    type: str

    @property
    def name(self) -> str:
        """The class's name."""
        return self.type.rpartition(".")[2]


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        SourceError: The file is missing, no JSON object, or absurdly large.
    """
    value = read_any_json(path)
    if not isinstance(value, dict):
        raise SourceError(f"{path.name} is no JSON object", "download the model again")
    return value


def read_any_json(path: Path) -> Any:
    """Reads any JSON value; raises as read_json."""
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise SourceError(
                f"{path.name} is over {_MAX_JSON_BYTES >> 20} MiB", "no model needs that; check it"
            )
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, MemoryError) as error:
        raise SourceError(f"{path.name} is no JSON: {error}", "download the model again") from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> SourceError:
    return SourceError(
        f"{path} cannot be read: {error.strerror}", "check the path and its permissions"
    )


def parse_modules(entries: object) -> tuple[ModuleEntry, ...]:
    """Checks the content of a modules.json.

    Raises:
        SourceError: It is not a list of modules, or a folder climbs out of the model's.
    """
    broken = SourceError("modules.json is no list of modules", "download the model again")
    if not isinstance(entries, list) or not entries:
        raise broken
    modules = []
    for entry in entries:
        if not isinstance(entry, dict):
            raise broken
        path, kind = entry.get("path", ""), entry.get("type")
        if not isinstance(path, str) or not isinstance(kind, str):
            raise broken
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise SourceError(
                f"modules.json names the folder {path!r}, outside the model's",
                "do not use this model; it reaches for files that are not its own",
            )
        modules.append(ModuleEntry(path=path.strip("/"), type=kind))
    return tuple(modules)


def check_modules(modules: Iterable[ModuleEntry], *, trust_remote_code: bool) -> None:
    """Refuses modules that are not sentence-transformers' own: their type is an import path.

    Raises:
        UnsupportedModelError: A module would run foreign code, or makes no token embeddings.
    """
    modules = tuple(modules)
    for module in modules:
        if module.type.startswith("sentence_transformers.") or trust_remote_code:
            continue
        raise UnsupportedModelError(
            f"modules.json names the class {module.type}, which is remote code",
            "read that code, and if you trust it add --trust_remote_code",
        )
    if modules[0].name != "Transformer" and not trust_remote_code:
        raise UnsupportedModelError(
            f"the first module is a {modules[0].name}, which makes no token embeddings",
            "models that start with a Transformer module can be converted",
        )


def resolve_folder(
    folder: Path,
    *,
    model_id: str,
    revision: str | None = None,
    trust_remote_code: bool = False,
    sha256: Mapping[str, str] = MappingProxyType({}),
) -> ResolvedModel:
    """Reads and checks a model's files.

    Args:
        folder: The model's folder.
        model_id: As the user gave it.
        revision: The hub's commit.
        trust_remote_code: Whether modules of foreign classes are allowed.
        sha256: Of files whose content is known already, by name.

    Raises:
        SourceError: A file is missing or broken, or the weights come only as a pickle.
        UnsupportedModelError: The model needs remote code, or has no transformer.
    """
    refuse_special_files(folder)
    modules: tuple[ModuleEntry, ...] = ()
    if (folder / "modules.json").exists():
        modules = parse_modules(read_any_json(folder / "modules.json"))
        check_modules(modules, trust_remote_code=trust_remote_code)
    root = folder / (modules[0].path if modules else "")
    for module in modules:
        if (folder / module.path).is_dir():
            refuse_special_files(folder / module.path)
    if not (root / "config.json").is_file():
        raise SourceError(
            f"{folder} is no model: it has no config.json",
            "give the folder that save_pretrained wrote, or a hub id such as intfloat/e5-small-v2",
        )
    config = read_json(root / "config.json")
    try:
        architecture = read_architecture(config)
    except ValueError as error:
        raise SourceError(str(error), "check that this is a transformers model") from error
    _check_remote_code(config, trust_remote_code=trust_remote_code)
    if not any((root / name).is_file() for name in TOKENIZER_FILES):
        raise SourceError(
            f"{root} has no tokenizer",
            f"put the model's tokenizer files beside config.json, as {TOKENIZER_FILES[0]}",
        )
    if not trust_remote_code:
        refuse_other_weights(config)
        for module in modules[1:]:
            file = folder / module.path / "config.json"
            if module.path and file.is_file():
                refuse_activation(read_json(file), f"{module.path}/config.json")
    files = list(_model_files(folder, root, modules, trust_remote_code=trust_remote_code))
    refuse_escapes(folder, files)
    parameters = sum(_count_parameters(f) for f in files if f.suffix == ".safetensors")
    refuse_absurd_sizes(config, parameters)
    return ResolvedModel(
        model_id=model_id,
        revision=revision,
        folder=folder,
        files=tuple(
            FileRecord(
                path=name,
                sha256=sha256.get(name) or hash_file(file),
                size_bytes=file.stat().st_size,
            )
            for name, file in sorted((f.relative_to(folder).as_posix(), f) for f in files)
        ),
        config=config,
        architecture=architecture,
        max_seq_length=_max_seq_length(root, architecture.max_positions),
        has_modules=bool(modules),
        parameters=parameters,
        card=read_card(folder),
    )


def announces_dimensions(resolved: ResolvedModel) -> bool:
    """Whether a model says that its embeddings may be cut, as one of Matryoshka training does.

    In its configuration (`matryoshka_dimensions`, `truncate_dim`), or on its model card.
    """
    settings = dict(resolved.config)
    for name in ("config_sentence_transformers.json", "README.md"):
        path = resolved.folder / name
        if name.endswith(".json") and path.is_file():
            settings |= read_json(path)
        elif path.is_file():
            with path.open(encoding="utf-8", errors="replace") as stream:
                if "matryoshka" in stream.read(_MAX_JSON_BYTES).lower():
                    return True
    return bool(settings.get("matryoshka_dimensions") or settings.get("truncate_dim"))


def dimensions_problem(request: Request, resolved: ResolvedModel) -> str | None:
    """Returns, in words, why a model's embeddings should not be cut; None when they may be.

    Raises:
        UsageError: They should not be, and --force_dimensions is not given.
    """
    if request.dimensions is None or announces_dimensions(resolved):
        return None
    problem = (
        f"{request.model_id} does not say that its embeddings may be cut: neither its "
        "configuration nor its model card speaks of Matryoshka"
    )
    if request.force_dimensions:
        return f"{problem}; results will be worse"
    raise UsageError(
        problem, "leave --dimensions out; or add --force_dimensions, and expect worse results"
    )


def _check_remote_code(config: Mapping[str, Any], *, trust_remote_code: bool) -> None:
    """Refuses a model that transformers knows only through code of its own.

    An `auto_map` beside a native class is harmless: transformers takes the native one.

    Raises:
        UnsupportedModelError: The code would have to run.
    """
    if trust_remote_code or not config.get("auto_map"):
        return
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    if config["model_type"] not in CONFIG_MAPPING_NAMES:
        raise UnsupportedModelError(
            f"{config['model_type']} is remote code: transformers has no such architecture",
            "read the model's Python files, and if you trust them add --trust_remote_code",
        )


def _model_files(
    folder: Path, root: Path, modules: tuple[ModuleEntry, ...], *, trust_remote_code: bool
) -> Iterable[Path]:
    """Yields the files that make up a model; others in its folder are not looked at."""
    names = dict.fromkeys(CONFIGURATION_FILES)
    found = [root / name for name in names] + [folder / name for name in names if root != folder]
    yield from (file for file in found if file.is_file())
    yield from _weight_files(root)
    for module in modules[1:]:
        module_folder = folder / module.path
        if not module.path or not module_folder.is_dir():
            continue
        inside = [f for f in module_folder.iterdir() if f.is_file()]
        yield from (f for f in inside if f.suffix in (".json", ".safetensors", ".txt"))
        pickles = [f.name for f in inside if f.suffix in _PICKLE_SUFFIXES]
        if pickles and not any(f.suffix == ".safetensors" for f in inside):
            raise _pickle_error(f"{module.path}/{pickles[0]}")
    if trust_remote_code:
        yield from folder.glob("*.py")


def _weight_files(root: Path) -> list[Path]:
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
            if not name.endswith(".safetensors"):
                raise _pickle_error(name)
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
    pickles = sorted(f.name for f in root.iterdir() if f.suffix in _PICKLE_SUFFIXES)
    if pickles:
        raise _pickle_error(pickles[0])
    raise SourceError(
        f"{root} has no weights: model.safetensors is missing", "download the model again"
    )


def _pickle_error(name: str) -> SourceError:
    return SourceError(
        f"the weights come only as a pickle ({name}), which can run code when it is read",
        "on a machine that may run it, load the model and call "
        "save_pretrained(folder, safe_serialization=True); then convert that folder",
    )


def _count_parameters(path: Path) -> int:
    """Returns how many numbers a file of weights has.

    A file whose header and length disagree is refused; the library checks overlaps and bounds.

    Raises:
        SourceError: The file is truncated or corrupt.
    """
    from safetensors import SafetensorError, safe_open

    try:
        path.open("rb").close()  # safetensors calls what it may not read absent
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        with safe_open(path, framework="np") as weights:
            names = list(weights.keys())
            return sum(math.prod(weights.get_slice(name).get_shape()) for name in names)
    except (SafetensorError, OSError, ValueError) as error:
        raise SourceError(
            f"{path.name} is truncated or corrupt: {error}", "download the model again"
        ) from error


def _max_seq_length(root: Path, max_positions: int | None) -> int | None:
    """Returns the length at which sentence-transformers truncates, by its own rule.

    Source: sentence_transformers.base.modules.transformer.Transformer.__init__ (6.2): the module's
    configuration, else the tokenizer's limit capped by the model's positions.
    """
    for name in CONFIGURATION_FILES:
        if name.startswith("sentence_") and (root / name).is_file():
            configured = read_json(root / name).get("max_seq_length")
            if isinstance(configured, int) and configured > 0:
                return configured
    limits = [max_positions] if max_positions else []
    if (root / "tokenizer_config.json").is_file():
        limit = read_json(root / "tokenizer_config.json").get("model_max_length")
        if isinstance(limit, int | float) and 0 < limit < _UNLIMITED:
            limits.append(int(limit))
    return min(limits, default=None)
