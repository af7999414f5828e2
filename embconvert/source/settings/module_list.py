"""The list of a model's sentence-transformers modules, modules.json."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from embconvert.errors import SourceError, UnsupportedModelError
from embconvert.source.settings.modules import MODULES

#: The modules that make something of tokens; MLMTransformer is what sparse models had before 5.4.
_TRANSFORMERS = ("Transformer", "MLMTransformer")
#: Names in the place of which sentence-transformers loads its own class; it imports none of them.
_TAKEN_FOR_OWN = ("pylate.models.Dense.Dense",)
_MAX_MODULES = 100
# Of a file's name, on every file system; no module's folder is deeper.
_MAX_PATH_BYTES = 255
_OWN = "sentence_transformers."


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


def parse_modules(entries: object) -> tuple[ModuleEntry, ...]:
    """Checks the content of a modules.json.

    Raises:
        SourceError: It is not a list of modules, or a folder climbs out of the model's.
    """
    broken = SourceError("modules.json is no list of modules", "download the model again")
    if not isinstance(entries, list) or not entries:
        raise broken
    if len(entries) > _MAX_MODULES:
        raise SourceError(
            f"modules.json names {len(entries)} modules, over {_MAX_MODULES}",
            "it is damaged; download the model again",
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
                f"modules.json names the folder {path[:50]!r}, which can be no folder's name",
                "it is damaged; download the model again",
            )
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise SourceError(
                f"modules.json names the folder {path!r}, outside the model's",
                "do not use this model; it reaches for files that are not its own",
            )
        own = PurePosixPath(path).as_posix()  # ./1_Pooling/ is 1_Pooling
        modules.append(ModuleEntry(path="" if own == "." else own, type=kind))
    return tuple(modules)


def check_modules(modules: Iterable[ModuleEntry], *, trust_remote_code: bool) -> None:
    """Refuses modules of classes that no table knows: their type is an import path.

    Raises:
        UnsupportedModelError: A module would run foreign code, or cannot be converted.
    """
    modules = tuple(modules)
    if trust_remote_code:
        return
    for module in modules:
        if not (module.type.startswith(_OWN) or module.type in _TAKEN_FOR_OWN):
            raise UnsupportedModelError(
                f"modules.json names the class {module.type}, which is remote code",
                "read that code, and if you trust it add --trust_remote_code",
            )
    if modules[0].name not in _TRANSFORMERS:
        raise UnsupportedModelError(
            f"the first module is a {modules[0].name}, which makes no token embeddings",
            "models that start with a Transformer module can be converted",
        )
    for module in modules:
        why = "embconvert does not know it"
        if module.name in MODULES:
            why = MODULES[module.name].unsupported or ""
        if why:
            known = [name for name, rules in MODULES.items() if rules.unsupported is None]
            raise UnsupportedModelError(
                f"modules.json names the class {module.type}, which cannot be converted: {why}",
                f"models of the modules {', '.join(known)} can be converted",
            )
