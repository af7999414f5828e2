"""Finds, reads and checks the source's files before anything expensive starts."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from embconvert.errors import SourceError, UnsupportedModelError, UsageError
from embconvert.graph.streams import hash_file
from embconvert.json_files import read_json
from embconvert.manifest import CARD_FILE
from embconvert.models.architectures import Architecture, read_architecture, text_settings
from embconvert.models.kinds import HEAD_FILES
from embconvert.models.other_inputs import other_inputs
from embconvert.models.routes import RoutedChain
from embconvert.models.source_records import FileRecord
from embconvert.models.values import ResolvedModel, StaticFormat
from embconvert.source.adapters.files import refuse_adapter
from embconvert.source.card import read_card
from embconvert.source.distrust import (
    refuse_absurd_sizes,
    refuse_escapes,
    refuse_foreign_code,
    refuse_odd_names,
    refuse_special_files,
)
from embconvert.source.positions import refuse_relative_positions
from embconvert.source.private_copy import TOKENIZER_DATA, TOKENIZER_FILES
from embconvert.source.reading import CUTS_NOTHING, UNLIMITED, call_of_texts
from embconvert.source.remote_code import check_remote_code
from embconvert.source.settings.files import PROCESSOR, TRANSFORMER_FILES, read_settings
from embconvert.source.settings.module_list import ModuleEntry, check_modules
from embconvert.source.settings.own_code import settle_code
from embconvert.source.settings.routes import Router, SeveralRoutes, read_modules, read_router
from embconvert.source.static_files import (
    static_architecture,
    static_format,
    static_max_length,
    table_rows,
)
from embconvert.source.tokenizer_file import check_tokenizer_file
from embconvert.source.weights import (
    count_parameters,
    is_weights,
    module_weights,
    refuse_other_models,
    refuse_quantized,
    refuse_unreadable,
    weight_files,
)

#: The files that are about all modules, which are in the model's own folder.
WHOLE_MODEL_FILES = ("modules.json", "config_sentence_transformers.json")
#: Of SetFit: beside an embedding model with it is a classifier, a pickle of scikit-learn.
CLASSIFIER_SETTINGS = "config_setfit.json"
#: How other inputs than texts are processed.
PROCESSORS = (PROCESSOR, "preprocessor_config.json")
#: The files that are read in the transformer's folder, apart from weights.
CONFIGURATION_FILES = (
    *TOKENIZER_DATA, "config.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "config_sentence_transformers.json", *TRANSFORMER_FILES,
    "modules.json", *PROCESSORS,
    "artifact.metadata",
)  # fmt: skip

#: transformers' tokenizers of characters and bytes, which have no files.
_CODE_ALONE = ("ByT5Tokenizer", "CanineTokenizer", "PerceiverTokenizer")


def resolve_folder(
    folder: Path,
    *,
    model_id: str,
    revision: str | None = None,
    route: str | None = None,
    trust_remote_code: bool = False,
    sha256: Mapping[str, str] = MappingProxyType({}),
    homes: Sequence[Path] = (),
) -> ResolvedModel:
    """Reads and checks a model's files.

    Args:
        trust_remote_code: Whether module classes of other packages are allowed.
        sha256: Of files whose content is already known, by name.
        homes: Other folders to which its files may be links.

    Raises:
        SourceError: A file is missing or broken.
        SeveralRoutes: The model is asymmetric, and no route is given.
        UnsupportedModelError: The model needs remote code, has no transformer, or is an adapter.
        UsageError: It has no such route.
    """
    refuse_special_files(folder)
    code = settle_code(folder, read_modules(folder), trust_remote_code=trust_remote_code)
    modules = code.modules
    router = read_router(folder, modules)
    routed = _routed(router, route, model_id, revision)
    if router is not None and routed is not None:
        modules = router.chains[routed.route.name]
    if modules:
        check_modules(modules, trust_remote_code=trust_remote_code)
    root = folder / (modules[0].path if modules else "")
    for module in modules:
        if (folder / module.path).is_dir():
            refuse_special_files(folder / module.path)
    if not trust_remote_code:  # the model's own code may choose between adapters
        refuse_adapter(root, model_id)
    static = static_format(folder, root, modules)
    config: Mapping[str, Any] = {}
    if static is None or static is StaticFormat.MODEL2VEC:
        config = code.written.get("config.json") or _read_config(folder, root)
    if static is None:
        architecture = _read_architecture(config)
        check_remote_code(config, trust_remote_code=trust_remote_code)
    else:
        architecture = static_architecture(static, root)
    if not any((root / name).is_file() for name in TOKENIZER_FILES):
        raise _no_tokenizer(root)
    settings = None
    if trust_remote_code:
        refuse_foreign_code(config, is_local=revision is None)
    else:
        settings = read_settings(folder, modules, static, code.written)
        config = settings.files.get((root / "config.json").relative_to(folder).as_posix(), {})
    files = list(_model_files(folder, root, modules, router, trust_remote_code=trust_remote_code))
    refuse_odd_names(folder, files)
    # The card is also read, though no graph depends on it.
    refuse_escapes(
        folder, [*files, *([card] if (card := folder / CARD_FILE).is_file() else ())], homes
    )
    refuse_unreadable(*files)
    rows = text_settings(config).get("vocab_size") if static is None else table_rows(root)
    if (root / "tokenizer.json").is_file():
        check_tokenizer_file(root / "tokenizer.json", rows if isinstance(rows, int) else None)
    refuse_relative_positions(config)
    weights = [f for f in files if is_weights(f.name)]
    refuse_absurd_sizes(config, sum(map(count_parameters, weights)))
    # The model's own code may know the scales.
    refuse_quantized([] if trust_remote_code else weights)
    of_text = bool(other_inputs(config))
    return ResolvedModel(
        model_id=model_id,
        revision=revision,
        folder=folder,
        files=_records(folder, files, sha256),
        config=config,
        architecture=architecture,
        max_seq_length=code.max_seq_length or _length(root, static, config, architecture),
        modules=tuple(module.name for module in modules),
        parameters=sum(count_parameters(f, of_text=of_text) for f in weights),
        card=read_card(folder),
        settings=settings.files if settings else None,
        unknown_settings=tuple(settings.unknown) if settings else (),
        static=static,
        routed=routed,
        written=code.written,
        tasks=code.tasks,
        has_inner_adapters=code.inner is not None,
    )


def _records(
    folder: Path, files: Iterable[Path], sha256: Mapping[str, str]
) -> tuple[FileRecord, ...]:
    """Returns the records of files in a folder, in the order of their paths."""
    return tuple(
        FileRecord(
            path=name, sha256=sha256.get(name) or hash_file(file), size_bytes=file.stat().st_size
        )
        for name, file in sorted((f.relative_to(folder).as_posix(), f) for f in files)
    )


def _read_config(folder: Path, root: Path) -> Mapping[str, Any]:
    if not (root / "config.json").is_file():
        if root.is_dir():
            refuse_other_models(root)
        raise SourceError(
            f"{folder} is not a model: it has no config.json",
            "give a folder written by save_pretrained, or a hub id such as intfloat/e5-small-v2",
        )
    return read_json(root / "config.json")


def _read_architecture(config: Mapping[str, Any]) -> Architecture:
    try:
        return read_architecture(config)
    except ValueError as error:
        raise SourceError(
            str(error),
            "give a model that transformers can load; its config.json says the model_type",
        ) from error


def _no_tokenizer(root: Path) -> SourceError | UnsupportedModelError:
    settings = root / "tokenizer_config.json"
    name = read_json(settings).get("tokenizer_class") if settings.is_file() else None
    if name in _CODE_ALONE:
        return UnsupportedModelError(
            f"the tokenizer of this model ({name}) is Python code without files, but programs that "
            "load converted folders need a tokenizer.json",
            "choose a model that has a tokenizer.json",
        )
    return SourceError(
        f"{root} has no tokenizer",
        f"put the model's tokenizer files, such as {TOKENIZER_FILES[0]}, next to config.json",
    )


def _routed(
    router: Router | None, route: str | None, model_id: str, revision: str | None
) -> RoutedChain | None:
    """Returns the chosen route; None for a model without routes."""
    if router is None:
        if route is not None:
            raise UsageError(
                f"{model_id} has no routes: it embeds queries and documents in the same way",
                "remove --route",
            )
        return None
    if route is None:
        raise SeveralRoutes(router.names, router.left_out, revision)
    return router.chosen(route)


def _model_files(
    folder: Path,
    root: Path,
    modules: tuple[ModuleEntry, ...],
    router: Router | None,
    *,
    trust_remote_code: bool,
) -> Iterable[Path]:
    """Yields the files of a model, or of one route; others in its folder are ignored."""
    names = dict.fromkeys(CONFIGURATION_FILES)
    found = [root / name for name in names]
    if router is not None:
        found = [f for f in found if root == folder or f.name not in WHOLE_MODEL_FILES]
        names = dict.fromkeys((*WHOLE_MODEL_FILES, router.file))
    found += [folder / name for name in names]
    yield from dict.fromkeys(file for file in found if file.is_file())
    yield from weight_files(root)
    for module in modules[1:]:
        module_folder = folder / module.path
        if not module.path or not module_folder.is_dir():
            continue
        inside = [f for f in module_folder.iterdir() if f.is_file()]
        yield from (f for f in inside if f.suffix in (".json", ".txt"))
        yield from module_weights(module_folder)
    if router is None and (root / "config.json").is_file():
        yield from (file for name in sorted(HEAD_FILES) if (file := folder / name).is_file())
    if trust_remote_code:
        yield from folder.glob("*.py")


def _length(
    root: Path, static: StaticFormat | None, config: Mapping[str, Any], architecture: Architecture
) -> int | None:
    """Returns the number of tokens after which the model's library cuts texts; None without."""
    if static is None or static is StaticFormat.TOKEN_WEIGHTS:
        return _max_seq_length(root, architecture.max_positions)
    return static_max_length(static, config)


def _max_seq_length(root: Path, max_positions: int | None) -> int | None:
    """Returns the length to which sentence-transformers truncates texts.

    Source: sentence_transformers.base.modules.transformer.Transformer.__init__ (6.2): the module's
    configuration; otherwise the tokenizer's limit, but at most the number of positions.
    """
    for name in CONFIGURATION_FILES:
        if name in TRANSFORMER_FILES and (root / name).is_file():
            said = read_json(root / name)
            if call_of_texts(said.get("processing_kwargs")).get("truncation") in CUTS_NOTHING:
                return max_positions
            configured = said.get("max_seq_length")
            if isinstance(configured, int) and configured > 0:
                return configured
    limits = [max_positions] if max_positions else []
    if (root / "tokenizer_config.json").is_file():
        limit = read_json(root / "tokenizer_config.json").get("model_max_length")
        if isinstance(limit, int | float) and 0 < limit < UNLIMITED:
            limits.append(int(limit))
    return min(limits, default=None)
