"""Parses and checks modules.json, the list of sentence-transformers modules."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from embconvert.errors import SourceError, UnsupportedModelError
from embconvert.models.values import TOKEN_WEIGHTS
from embconvert.source.settings.modules import MODULES

#: The modules that read tokens; sparse models had MLMTransformer before 5.4.
TRANSFORMERS = ("Transformer", "MLMTransformer", "CLIPModel")
#: The module that looks up a vector of each token instead; TOKEN_WEIGHTS looks up one weight.
STATIC = "StaticEmbedding"
_READS_TEXT = (*TRANSFORMERS, STATIC, TOKEN_WEIGHTS)
#: For these names sentence-transformers loads its own class and imports nothing.
_TAKEN_FOR_OWN = ("pylate.models.Dense.Dense",)
_MAX_MODULES = 100
# The limit of a file name; a module's folder is never deeper.
_MAX_PATH_BYTES = 255
_OWN = "sentence_transformers."


@dataclass(frozen=True, kw_only=True)
class ModuleEntry:
    """An entry of modules.json.

    Attributes:
        path: Folder of the module, relative to the model's; "" for the model's own.
    """

    path: str
    type: str
    entry: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def name(self) -> str:
        return self.type.rpartition(".")[2]

    @property
    def is_own(self) -> bool:
        """Whether the class is sentence-transformers' own."""
        return self.type.startswith(_OWN)


def own_module(name: str, path: str) -> ModuleEntry:
    """Returns the entry of a class of sentence-transformers.

    Its type is that of before version 6, for which other programs look.
    """
    return ModuleEntry(path=path, type=f"{_OWN}models.{name}")


def listed(modules: Iterable[ModuleEntry]) -> list[dict[str, Any]]:
    """Returns a modules.json of these modules; what else their own entries say is left out."""
    return [
        {"idx": number, "name": str(number), "path": module.path, "type": module.type}
        for number, module in enumerate(modules)
    ]


def parse_modules(entries: object, file: str = "modules.json") -> tuple[ModuleEntry, ...]:
    """Parses the content of modules.json, or of another file that is named in errors.

    Raises SourceError if it is not a list of modules, or a folder is outside the model's.
    """
    broken = SourceError(f"{file} is not a list of modules", "download the model again")
    if not isinstance(entries, list) or not entries:
        raise broken
    if len(entries) > _MAX_MODULES:
        raise SourceError(
            f"{file} has {len(entries)} modules; the limit is {_MAX_MODULES}",
            "the file is damaged; download the model again",
        )
    modules = []
    for entry in entries:
        if not isinstance(entry, dict):
            raise broken
        path, kind = entry.get("path", ""), entry.get("type")
        if not isinstance(path, str) or not isinstance(kind, str):
            raise broken
        if len(path.encode("utf-8", "replace")) > _MAX_PATH_BYTES or "\0" in path:
            raise SourceError(
                f"{file} has the folder {path[:50]!r}, which is not a valid name",
                "the file is damaged; download the model again",
            )
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise SourceError(
                f"{file} has the folder {path!r}, outside the model's folder",
                "do not use this model; it accesses files outside its folder",
            )
        own = PurePosixPath(path).as_posix()  # ./1_Pooling/ is 1_Pooling
        modules.append(ModuleEntry(path="" if own == "." else own, type=kind, entry=entry))
    _refuse_same_names(modules, file)
    return tuple(modules)


def _refuse_same_names(modules: Iterable[ModuleEntry], file: str) -> None:
    """Raises SourceError if two modules have one name: sentence-transformers drops the first.

    Source: sentence_transformers.base.model.BaseModel._load_config_modules (6.2).
    """
    names = [name for m in modules if isinstance(name := m.entry.get("name"), str)]
    again = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if again is not None:
        raise SourceError(
            f"{file} has two modules with the name {again[:50]!r}, of which "
            "sentence-transformers loads one only",
            f"give each module its own name in a copy of {file}",
        )


def check_modules(modules: Iterable[ModuleEntry], *, trust_remote_code: bool) -> None:
    """Raises UnsupportedModelError for modules of unknown classes: their type is an import path."""
    modules = tuple(modules)
    if trust_remote_code:
        return
    for module in modules:
        if not (module.is_own or module.type in _TAKEN_FOR_OWN):
            raise UnsupportedModelError(
                f"modules.json has the class {module.type}, which is remote code",
                "read that code; if you trust it, add --trust_remote_code",
            )
    for module in modules:
        why = "it is unknown"
        if module.name in MODULES:
            why = MODULES[module.name].unsupported or ""
        if why:
            known = [name for name, rules in MODULES.items() if rules.unsupported is None]
            raise UnsupportedModelError(
                f"modules.json has the class {module.type}, which cannot be converted: {why}",
                f"use a model with these modules only: {', '.join(known)}",
            )
    if modules[0].name not in _READS_TEXT:
        raise UnsupportedModelError(
            f"the first module is {modules[0].name}, which does not compute token embeddings",
            f"use a model whose first module is a Transformer, {STATIC} or {TOKEN_WEIGHTS}",
        )
    for name in (module.name for module in modules[1:]):
        if name in (STATIC, TOKEN_WEIGHTS):
            raise UnsupportedModelError(
                f"modules.json has {name} after another module, but it reads texts",
                f"use a model whose first module is {name}",
            )
