"""Files that consumers of a published folder read and some sources lack.

Some programs read only `tokenizer.json`, `special_tokens_map.json` and the module files, which
older or plain transformers models don't have.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embconvert.json_files import read_any_json, read_json, write_json
from embconvert.manifest import ArtifactRecord
from embconvert.manifest.layouts import LayoutRules
from embconvert.models.choices import PoolingMode
from embconvert.models.values import ResolvedModel
from embconvert.source.settings.module_list import ModuleEntry, listed, own_module, parse_modules
from embconvert.source.settings.pooling import POOLING_KEYS, pooling_modes

if TYPE_CHECKING:
    from embconvert.source.torch_model import SourceModel


def save_missing_files(source: "SourceModel", folder: Path) -> None:
    """Writes to the folder what consumers need and the source lacks; overwrites nothing."""
    tokenizer = source.tokenizer
    special = {
        name: token if isinstance(token, str) else [str(t) for t in token]
        for name, token in tokenizer.special_tokens_map.items()
    }
    _write_if_missing(folder / "special_tokens_map.json", special)
    _write_if_missing(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", **special}
        | {"model_max_length": source.max_seq_length, "padding_side": tokenizer.padding_side},
    )
    if not (folder / "modules.json").exists():
        if source.pooling:
            _save_modules(source, folder)
        else:
            source.save_modules(folder)
    source.save_own_files(folder)
    if (folder / "modules.json").exists():
        _save_overrides(source, folder, adapt_modules(folder))


_LIBRARY = "sentence_transformers"
#: Where sentence-transformers 6 moved a class, and a name by which 5 and 6 both find it. Its ONNX
#: backend needs transformers 4, and so version 5.
_MOVED = {f"{_LIBRARY}.base.modules.normalize.Normalize": f"{_LIBRARY}.models.Normalize"}


def adapt_modules(folder: Path) -> tuple[ModuleEntry, ...]:
    """Writes modules.json in names that older versions know, too, and adds pooling flags.

    Returns:
        The modules.

    Raises:
        SourceError: modules.json is not a list of modules: `verify` reads folders that may have
            been edited.
    """
    path = folder / "modules.json"
    modules = parse_modules(read_any_json(path))
    entries = [{**module.entry, "type": _MOVED.get(module.type, module.type)} for module in modules]
    if entries != [module.entry for module in modules]:
        write_json(path, entries)
    for module in modules:
        settings = folder / module.path / "config.json"
        if module.name == "Pooling" and settings.exists():
            _add_pooling_flags(settings)
    return parse_modules(entries)


def _add_pooling_flags(path: Path) -> None:
    """Writes the flags by which older programs know how to pool, unless the settings have them.

    sentence-transformers 6 saves the name of the mode alone, prefers it to flags, and takes the
    mean if there is neither; text-embeddings-inference reads nothing but the flags.
    """
    settings = read_json(path)
    modes = pooling_modes(settings) or [PoolingMode.MEAN]
    flags = {key: mode in modes for key, mode in POOLING_KEYS.items()}
    if any((settings.get(key) is True) != is_set for key, is_set in flags.items()):
        _change_json(path, flags)


def _save_modules(source: "SourceModel", folder: Path) -> None:
    """Writes the modules that sentence-transformers adds to a plain transformers model."""
    modules = (own_module("Transformer", ""), own_module("Pooling", "1_Pooling"))
    write_json(folder / "modules.json", listed(modules))
    _save_pooling(source, folder / modules[1].path)
    _write_if_missing(
        folder / "sentence_bert_config.json",
        {"max_seq_length": source.max_seq_length, "do_lower_case": False},
    )


def _save_pooling(source: "SourceModel", folder: Path) -> None:
    modes = source.pooling
    folder.mkdir(exist_ok=True)
    config = {
        "word_embedding_dimension": source.token_dimension,
        # The keys that sentence-transformers wrote before version 6; servers read them.
        **{key: mode in modes for key, mode in POOLING_KEYS.items()},
        "include_prompt": source.prompts.pooled,
    }
    write_json(folder / "config.json", config)


def _save_overrides(source: "SourceModel", folder: Path, modules: Sequence[ModuleEntry]) -> None:
    """Writes the user's overrides to the module files, for programs that read those."""
    overrides = source.overrides
    pooling = [folder / module.path for module in modules if module.name == "Pooling"]
    if overrides.pooling is not None and pooling:
        _save_pooling(source, pooling[0])
    for place in pooling if not source.prompts.pooled else ():
        _change_json(place / "config.json", {"include_prompt": False})
    if overrides.normalize and modules[-1].name != "Normalize":
        last = own_module("Normalize", f"{len(modules)}_Normalize")
        entries = [*(module.entry for module in modules), listed([*modules, last])[-1]]
        write_json(folder / "modules.json", entries)
    if overrides.dimensions is not None:
        _change_json(
            folder / "config_sentence_transformers.json", {"truncate_dim": overrides.dimensions}
        )


def adapt_to_layout(
    folder: Path,
    rules: LayoutRules,
    resolved: ResolvedModel,
    records: Iterable[ArtifactRecord],
    max_seq_length: int | None,
) -> None:
    """Adapts configuration files to a layout's runtime; idempotent."""
    architecture = resolved.architecture
    sizes = {"hidden_size": architecture.hidden_size, "num_hidden_layers": architecture.num_layers}
    known = read_json(folder / "config.json") if (folder / "config.json").exists() else {}
    config: dict[str, Any] = {name: sizes[name] for name in rules.config if name not in known}
    chunks = {r.path.rpartition("/")[2]: 1 for r in records if r.external_data is not None}
    if rules.external_data_in_config and chunks:
        config["transformers.js_config"] = {
            **known.get("transformers.js_config", {}),
            "use_external_data_format": chunks,
        }
    _change_json(folder / "config.json", config)
    if rules.model_max_length and max_seq_length is not None:
        _change_json(folder / "tokenizer_config.json", {"model_max_length": max_seq_length})


def _change_json(path: Path, changes: dict[str, Any]) -> None:
    """Changes fields of a JSON object in a file, which is created if it is missing."""
    value = read_json(path) if path.exists() else {}
    if changes and {**value, **changes} != value:
        write_json(path, {**value, **changes})


def _write_if_missing(path: Path, value: object) -> None:
    if not path.exists():
        write_json(path, value)
