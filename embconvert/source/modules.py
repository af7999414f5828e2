"""The list of a model's sentence-transformers modules, modules.json."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from embconvert.errors import SourceError, UnsupportedModelError

#: The modules that make something of tokens; MLMTransformer is what sparse models had before 5.4.
_TRANSFORMERS = ("Transformer", "MLMTransformer")
#: Names in the place of which sentence-transformers loads its own class; it imports none of them.
_TAKEN_FOR_OWN = ("pylate.models.Dense.Dense",)


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
        own = module.type.startswith("sentence_transformers.") or module.type in _TAKEN_FOR_OWN
        if own or trust_remote_code:
            continue
        raise UnsupportedModelError(
            f"modules.json names the class {module.type}, which is remote code",
            "read that code, and if you trust it add --trust_remote_code",
        )
    if modules[0].name not in _TRANSFORMERS and not trust_remote_code:
        raise UnsupportedModelError(
            f"the first module is a {modules[0].name}, which makes no token embeddings",
            "models that start with a Transformer module can be converted",
        )
