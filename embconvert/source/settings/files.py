"""Reads a model's settings files, each filtered by its table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from embconvert.json_files import read_json
from embconvert.models.other_inputs import other_inputs
from embconvert.models.values import TOKEN_WEIGHTS, StaticFormat
from embconvert.source.settings.module_list import ModuleEntry
from embconvert.source.settings.modules import (
    MODEL2VEC,
    MODULE_ENTRY,
    MODULES,
    STANFORD_COLBERT,
    WHOLE_MODEL,
)
from embconvert.source.settings.rules import SettingsTable, filtered
from embconvert.source.settings.tokenizer import ADDED_TOKENS, SPECIAL_TOKENS, TOKENIZER
from embconvert.source.settings.transformer import CONFIG

#: All names of a Transformer module's settings file; the first that is not empty is used. Source:
#: sentence_transformers.base.modules.transformer.Transformer.load_config (6.2).
TRANSFORMER_FILES = (
    "sentence_bert_config.json", "sentence_roberta_config.json",
    "sentence_distilbert_config.json", "sentence_camembert_config.json",
    "sentence_albert_config.json", "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
)  # fmt: skip

#: The settings files in the transformer's folder.
TABLES: Mapping[str, SettingsTable] = {
    "config.json": CONFIG,
    "tokenizer_config.json": TOKENIZER,
    "special_tokens_map.json": SPECIAL_TOKENS,
    "added_tokens.json": ADDED_TOKENS,
    "artifact.metadata": STANFORD_COLBERT,
}
#: Those of static embeddings, of which sentence-transformers reads tokenizer.json only.
STATIC_TABLES: Mapping[StaticFormat, Mapping[str, SettingsTable]] = {
    StaticFormat.SENTENCE_TRANSFORMERS: {},
    StaticFormat.MODEL2VEC: {"config.json": MODEL2VEC},
    StaticFormat.TOKEN_WEIGHTS: {
        "config.json": MODULES[TOKEN_WEIGHTS].table,
        "tokenizer_config.json": TOKENIZER,
        "special_tokens_map.json": SPECIAL_TOKENS,
        "added_tokens.json": ADDED_TOKENS,
    },
}
WEIGHTS_INDEX = "model.safetensors.index.json"
#: Names the class that processes inputs. That of a model of several inputs needs libraries for
#: images, and is not needed for texts: they go through its tokenizer alone.
PROCESSOR = "processor_config.json"
_OF_TEXTS = {"processor_class": "AutoTokenizer"}


@dataclass(kw_only=True)
class Settings:
    """The settings that the libraries get.

    Attributes:
        files: JSON value of each file, by path in the model's folder.
        unknown: Keys that were dropped because no table has them, as `config.json: a.b`.
        written: What stands for files, by path.
    """

    files: dict[str, Any] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    written: Mapping[str, Any] = field(default_factory=dict)

    def add(
        self, folder: Path, path: str, table: SettingsTable, *, name: str | None = None
    ) -> None:
        """Adds a file if it exists; `name` is the path for the libraries, if it differs.

        Raises as filtered(), and SourceError if the file cannot be read.
        """
        value = self.written.get(path)
        if value is None and (folder / path).is_file():
            value = read_json(folder / path)
        if value is not None:
            found = filtered(value, table, path)
            self.files[name or path] = found.value
            self.unknown += [f"{path}: {key}" for key in found.unknown]


def read_settings(
    folder: Path,
    modules: Sequence[ModuleEntry],
    static: StaticFormat | None = None,
    written: Mapping[str, Any] = MappingProxyType({}),
) -> Settings:
    """Reads a model's settings for the modules that the libraries get, filtered by the tables.

    `written` stands for files, by path. Raises as filtered(), and SourceError if a file cannot be
    read.
    """
    settings = Settings(written=written)
    root = f"{modules[0].path}/" if modules and modules[0].path else ""
    for name, table in (TABLES if static is None else STATIC_TABLES[static]).items():
        settings.add(folder, root + name, table)
    if static is None and other_inputs(settings.files.get(f"{root}config.json", {})):
        settings.files[root + PROCESSOR] = dict(_OF_TEXTS)
    settings.add(folder, "config_sentence_transformers.json", WHOLE_MODEL)
    if (folder / root / WEIGHTS_INDEX).is_file():
        index = read_json(folder / root / WEIGHTS_INDEX)
        settings.files[root + WEIGHTS_INDEX] = {
            "metadata": {},
            "weight_map": index.get("weight_map"),
        }
    if modules:
        _add_modules(settings, folder, modules)
    return settings


def _add_modules(settings: Settings, folder: Path, modules: Sequence[ModuleEntry]) -> None:
    entries = []
    for number, module in enumerate(modules):
        rules = MODULES[module.name]
        known = filtered(module.entry, MODULE_ENTRY, "modules.json").value
        # The name becomes part of the names of its weights.
        ours = {"idx": number, "name": str(number), "path": module.path, "type": rules.path}
        entries.append(known | ours)
        place = f"{module.path}/" if module.path else ""
        if rules.file not in TRANSFORMER_FILES:
            # A module without its own folder would read the transformer's settings.
            if module.path or rules.file != "config.json":
                settings.add(folder, place + rules.file, rules.table)
            continue
        for name in TRANSFORMER_FILES:
            path = folder / place / name
            if place + name in settings.written or (path.is_file() and read_json(path)):
                settings.add(folder, place + name, rules.table, name=place + TRANSFORMER_FILES[0])
                break
    settings.files["modules.json"] = entries
