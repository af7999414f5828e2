"""The source model's files on disk: found, read and checked before anything heavy starts."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from embconvert.errors import SourceError, UnsupportedModelError
from embconvert.graph.streams import hash_file
from embconvert.json_files import read_any_json, read_json
from embconvert.manifest import CARD_FILE
from embconvert.models.architectures import read_architecture
from embconvert.models.values import FileRecord, ResolvedModel
from embconvert.source.card import read_card
from embconvert.source.distrust import (
    refuse_absurd_sizes,
    refuse_adapter,
    refuse_escapes,
    refuse_foreign_code,
    refuse_special_files,
)
from embconvert.source.private_copy import TOKENIZER_DATA, TOKENIZER_FILES
from embconvert.source.settings.files import TRANSFORMER_FILES, read_settings
from embconvert.source.settings.module_list import ModuleEntry, check_modules, parse_modules
from embconvert.source.tokenizer_file import check_tokenizer_file
from embconvert.source.weights import PICKLE_SUFFIXES, count_parameters, pickle_error, weight_files

#: What is read of the folder of the transformer, beside its weights.
CONFIGURATION_FILES = (
    *TOKENIZER_DATA, "config.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "config_sentence_transformers.json", *TRANSFORMER_FILES,
    "modules.json", "processor_config.json", "preprocessor_config.json",
    "artifact.metadata",
)  # fmt: skip

# tokenizer_config.json says "unlimited" with numbers such as 1e30.
_UNLIMITED = 1_000_000


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
    settings = None
    if trust_remote_code:
        refuse_foreign_code(config, is_local=revision is None)
    else:
        refuse_adapter(root)
        settings = read_settings(folder, modules)
        config = settings.files[(root / "config.json").relative_to(folder).as_posix()]
    files = list(_model_files(folder, root, modules, trust_remote_code=trust_remote_code))
    # Its card is read, too, though no graph depends on it.
    refuse_escapes(folder, [*files, *([card] if (card := folder / CARD_FILE).is_file() else ())])
    rows = config.get("vocab_size")
    if (root / "tokenizer.json").is_file():
        check_tokenizer_file(root / "tokenizer.json", rows if isinstance(rows, int) else None)
    parameters = sum(count_parameters(f) for f in files if f.suffix == ".safetensors")
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
        settings=settings.files if settings else None,
        unknown_settings=tuple(settings.unknown) if settings else (),
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
    yield from weight_files(root)
    for module in modules[1:]:
        module_folder = folder / module.path
        if not module.path or not module_folder.is_dir():
            continue
        inside = [f for f in module_folder.iterdir() if f.is_file()]
        yield from (f for f in inside if f.suffix in (".json", ".safetensors", ".txt"))
        pickles = [f.name for f in inside if f.suffix in PICKLE_SUFFIXES]
        if pickles and not any(f.suffix == ".safetensors" for f in inside):
            raise pickle_error(f"{module.path}/{pickles[0]}")
    if trust_remote_code:
        yield from folder.glob("*.py")


def _max_seq_length(root: Path, max_positions: int | None) -> int | None:
    """Returns the length at which sentence-transformers truncates, by its own rule.

    Source: sentence_transformers.base.modules.transformer.Transformer.__init__ (6.2): the module's
    configuration, else the tokenizer's limit capped by the model's positions.
    """
    for name in CONFIGURATION_FILES:
        if name in TRANSFORMER_FILES and (root / name).is_file():
            configured = read_json(root / name).get("max_seq_length")
            if isinstance(configured, int) and configured > 0:
                return configured
    limits = [max_positions] if max_positions else []
    if (root / "tokenizer_config.json").is_file():
        limit = read_json(root / "tokenizer_config.json").get("model_max_length")
        if isinstance(limit, int | float) and 0 < limit < _UNLIMITED:
            limits.append(int(limit))
    return min(limits, default=None)
