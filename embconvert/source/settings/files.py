"""The settings files of a model's folder, each filtered by its table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embconvert.json_files import read_any_json, read_json
from embconvert.source.settings.module_list import ModuleEntry
from embconvert.source.settings.modules import (
    MODULE_ENTRY,
    MODULES,
    STANFORD_COLBERT,
    WHOLE_MODEL,
)
from embconvert.source.settings.rules import SettingsTable, filtered
from embconvert.source.settings.tokenizer import ADDED_TOKENS, SPECIAL_TOKENS, TOKENIZER
from embconvert.source.settings.transformer import CONFIG

#: The names that the settings of a Transformer module have had; the first that says anything holds.
#: Source: sentence_transformers.base.modules.transformer.Transformer.load_config (6.2).
TRANSFORMER_FILES = (
    "sentence_bert_config.json", "sentence_roberta_config.json",
    "sentence_distilbert_config.json", "sentence_camembert_config.json",
    "sentence_albert_config.json", "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
)  # fmt: skip

#: The settings files beside a transformer's weights.
TABLES: Mapping[str, SettingsTable] = {
    "config.json": CONFIG,
    "tokenizer_config.json": TOKENIZER,
    "special_tokens_map.json": SPECIAL_TOKENS,
    "added_tokens.json": ADDED_TOKENS,
    "artifact.metadata": STANFORD_COLBERT,
}
WEIGHTS_INDEX = "model.safetensors.index.json"


@dataclass(kw_only=True)
class Settings:
    """What the libraries are given of a model's settings.

    Attributes:
        files: The JSON value of each file, by its path in the model's folder.
        unknown: Keys that were left out because no table knows them, as `config.json: a.b`.
    """

    files: dict[str, Any] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    def add(
        self, folder: Path, path: str, table: SettingsTable, *, name: str | None = None
    ) -> None:
        """Adds a file if it is there.

        Args:
            folder: The model's.
            path: Of the file, in the folder.
            table: Its keys.
            name: The path that it is given by, when that is another one.

        Raises:
            SourceError: The file cannot be read, or a setting in it is refused.
            UnsupportedModelError: A setting in it cannot be converted.
        """
        if (folder / path).is_file():
            found = filtered(read_json(folder / path), table, path)
            self.files[name or path] = found.value
            self.unknown += [f"{path}: {key}" for key in found.unknown]


def read_settings(folder: Path, modules: Sequence[ModuleEntry]) -> Settings:
    """Reads the settings of a model, and keeps what the libraries may have.

    Args:
        folder: The model's.
        modules: As its modules.json lists them; empty without one.

    Raises:
        SourceError: A file cannot be read, or a setting is refused.
        UnsupportedModelError: A setting asks for what cannot be converted.
    """
    settings = Settings()
    root = f"{modules[0].path}/" if modules and modules[0].path else ""
    for name, table in TABLES.items():
        settings.add(folder, root + name, table)
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
    for number, (module, entry) in enumerate(
        zip(modules, read_any_json(folder / "modules.json"), strict=True)
    ):
        rules = MODULES[module.name]
        known = filtered(entry, MODULE_ENTRY, "modules.json").value
        # Its name becomes a part of the names of its weights.
        ours = {"idx": number, "name": str(number), "path": module.path, "type": rules.path}
        entries.append(known | ours)
        place = f"{module.path}/" if module.path else ""
        if rules.file not in TRANSFORMER_FILES:
            # A module without a folder of its own would take the transformer's settings for its.
            if module.path or rules.file != "config.json":
                settings.add(folder, place + rules.file, rules.table)
            continue
        for name in TRANSFORMER_FILES:
            path = folder / place / name
            if path.is_file() and read_json(path):
                settings.add(folder, place + name, rules.table, name=place + TRANSFORMER_FILES[0])
                break
    settings.files["modules.json"] = entries
