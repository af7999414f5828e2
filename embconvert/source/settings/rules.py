"""How the settings files of a model are filtered: by tables of keys, each with what becomes of it.

The libraries act on hundreds of keys; some of them name files, repositories, classes or functions.
They are given copies of the files with the keys that a table allows, and no others.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from embconvert.errors import EmbconvertError, SourceError, UnsupportedModelError
from embconvert.source.settings.values import Plain, WrongValueError, checked


class Use(StrEnum):
    """What becomes of a key."""

    READ = "read"
    IGNORED = "ignored"
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What becomes of one key of a settings file.

    Attributes:
        use: Whether the libraries are given it.
        kind: The type of its value, of `values`; None where it is not read.
        why: What the libraries would do with it, for the table in the documentation.
        nested: The keys of its value, when that is an object with settings of its own.
        unsupported: What is wrong with it is no fault of the files: the model cannot be converted.
        lenient: A value of another type is left out instead of refused.
    """

    use: Use
    kind: Any = None
    why: str = ""
    nested: "SettingsTable | None" = None
    unsupported: bool = False
    lenient: bool = False


def read(kind: Any, why: str = "") -> Setting:
    """A key that the libraries are given, if its value is of this type."""
    return Setting(use=Use.READ, kind=kind, why=why)


def ignored(why: str) -> Setting:
    """A key that is left out, which changes no embedding."""
    return Setting(use=Use.IGNORED, why=why)


def refused(why: str, *, unsupported: bool = False) -> Setting:
    """A key that no model may have, unless its value is empty."""
    return Setting(use=Use.REFUSED, why=why, unsupported=unsupported)


def nested(table: "SettingsTable") -> Setting:
    """A key whose value is an object with settings of its own."""
    return Setting(use=Use.READ, nested=table)


@dataclass(frozen=True, kw_only=True)
class SettingsTable:
    """The keys of one kind of settings file.

    Attributes:
        title: What the file is, for the documentation.
        keys: Those that are known.
        others: What becomes of a key that is not.
        patterns: Known keys by a regular expression, looked at after `keys`.
    """

    title: str
    keys: Mapping[str, Setting] = field(default_factory=dict)
    others: Setting = Setting(use=Use.IGNORED)
    patterns: Mapping[str, Setting] = field(default_factory=dict)

    def setting(self, key: str) -> Setting:
        """Returns what becomes of a key."""
        if key in self.keys:
            return self.keys[key]
        return next((s for p, s in self.patterns.items() if re.fullmatch(p, key)), self.others)

    def knows(self, key: str) -> bool:
        """Whether a key is in the table."""
        return key in self.keys or any(re.fullmatch(p, key) for p in self.patterns)


#: Of an object whose unknown keys may be numbers and flags; text in them is left out.
PLAIN_OTHERS = Setting(use=Use.READ, kind=Plain)


@dataclass(frozen=True, kw_only=True)
class Filtered:
    """What is left of a settings file.

    Attributes:
        value: The object that the libraries are given.
        unknown: Keys that were left out because no table knows them, as `a.b`.
    """

    value: dict[str, Any]
    unknown: tuple[str, ...] = ()


def filtered(value: Mapping[str, Any], table: SettingsTable, file: str) -> Filtered:
    """Returns the settings that the libraries may have.

    Args:
        value: The file's object.
        table: Its keys.
        file: Its path in the model's folder, for messages.

    Raises:
        SourceError: A key is refused, or the value of a known key is of another type.
        UnsupportedModelError: The same, where the model is sound but cannot be converted.
    """
    return _filtered(value, table, file, "")


def _filtered(value: Mapping[str, Any], table: SettingsTable, file: str, above: str) -> Filtered:
    kept: dict[str, Any] = {}
    unknown: list[str] = []
    for key, item in value.items():
        setting = table.setting(key)
        where = f"{above}{key}"
        if setting.use is Use.REFUSED:
            if not _is_empty(item):
                raise _refusal(file, where, setting)
        elif setting.nested is not None:
            if item is None:
                kept[key] = None
                continue
            if not isinstance(item, Mapping):
                raise _wrong(file, where, "it should be an object", setting)
            inner = _filtered(item, setting.nested, file, f"{where}.")
            kept[key] = inner.value
            unknown += inner.unknown
        elif setting.use is Use.READ:
            try:
                kept[key] = None if item is None else checked(item, setting.kind)
            except WrongValueError as error:
                if table.knows(key) and not setting.lenient:
                    raise _wrong(file, f"{where}{error.place}", error.reason, setting) from error
                unknown.append(where)
        elif not table.knows(key):
            unknown.append(where)
    return Filtered(value=kept, unknown=tuple(unknown))


def _is_empty(value: Any) -> bool:
    return value is None or value in ("", {}, [])


def _refusal(file: str, where: str, setting: Setting) -> EmbconvertError:
    kind = UnsupportedModelError if setting.unsupported else SourceError
    return kind(f"{file}: the setting {where} {setting.why}", _hint(file, where))


def _wrong(file: str, where: str, reason: str, setting: Setting) -> EmbconvertError:
    kind = UnsupportedModelError if setting.unsupported else SourceError
    return kind(
        f"{file}: the setting {where} is not what embconvert lets a model say: {reason}",
        _hint(file, where),
    )


def _hint(file: str, where: str) -> str:
    return (
        f"remove {where} from a copy of {file} if the model is right without it; or read the "
        "model's files, and if you trust them add --trust_remote_code"
    )
