"""Filters a model's settings files by tables that say for each key how it is used.

The libraries use hundreds of keys; some name files, repositories, classes or functions. They get
copies of the files with only the keys that a table allows.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from embconvert.errors import EmbconvertError, SourceError, UnsupportedModelError
from embconvert.source.settings.values import PlainValue, WrongValueError, checked


class Use(StrEnum):
    """How a key is used."""

    READ = "read"
    IGNORED = "ignored"
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How one key of a settings file is used.

    Attributes:
        use: Whether the libraries get it.
        kind: Type of its value, from `values`; None if it is not read.
        why: The effect in the libraries, for errors and docs/settings.md.
        nested: Table of its value, if that is an object with its own settings.
        unsupported: Whether a problem means that the model is not supported, rather than malformed.
        lenient: Whether a value of another type is dropped instead of refused.
        may_be_null: Whether the libraries take null for no value.
    """

    use: Use
    kind: Any = None
    why: str = ""
    nested: "SettingsTable | None" = None
    unsupported: bool = False
    lenient: bool = False
    may_be_null: bool = True


def read(kind: Any, why: str = "") -> Setting:
    """A key that the libraries get, if its value is of this type."""
    return Setting(use=Use.READ, kind=kind, why=why)


def not_null(setting: Setting) -> Setting:
    """The same key where null is no value: the libraries fail, or take it for something else."""
    return replace(setting, may_be_null=False)


def ignored(why: str) -> Setting:
    """A key that is dropped because it changes no embedding."""
    return Setting(use=Use.IGNORED, why=why)


def refused(why: str, *, unsupported: bool = False) -> Setting:
    """A key that is refused unless its value is empty."""
    return Setting(use=Use.REFUSED, why=why, unsupported=unsupported)


def nested(table: "SettingsTable") -> Setting:
    """A key whose value is an object with its own settings."""
    return Setting(use=Use.READ, nested=table)


def each(setting: Setting, names: str) -> dict[str, Setting]:
    """Returns the same use of several keys, which white space separates."""
    return dict.fromkeys(names.split(), setting)


@dataclass(frozen=True, kw_only=True)
class SettingsTable:
    """The keys of one kind of settings file.

    Attributes:
        others: How unknown keys are used.
        patterns: Known keys by regular expression, used after `keys`.
    """

    title: str
    keys: Mapping[str, Setting] = field(default_factory=dict)
    others: Setting = Setting(use=Use.IGNORED)
    patterns: Mapping[str, Setting] = field(default_factory=dict)

    def setting(self, key: str) -> Setting:
        if key in self.keys:
            return self.keys[key]
        return next((s for p, s in self.patterns.items() if re.fullmatch(p, key)), self.others)

    def knows(self, key: str) -> bool:
        return key in self.keys or any(re.fullmatch(p, key) for p in self.patterns)


#: Why keys of several tables are ignored.
NAMES_CODE = "names code that comes with the model, which needs --trust_remote_code"
FOR_IMAGES = "is for images or audio"
#: Unknown keys with numbers and flags are read; text is dropped.
PLAIN_OTHERS = Setting(use=Use.READ, kind=PlainValue)


@dataclass(frozen=True, kw_only=True)
class Filtered:
    """A filtered settings file.

    Attributes:
        unknown: Keys that were dropped because no table has them, as `a.b`.
    """

    value: dict[str, Any]
    unknown: tuple[str, ...] = ()


def filtered(value: Mapping[str, Any], table: SettingsTable, file: str) -> Filtered:
    """Returns the settings of a file, which has a path for errors, that the libraries may read.

    Raises SourceError if a key is refused, or the value of a known key has another type; it is
    UnsupportedModelError if the key is marked `unsupported`.
    """
    return _filtered(value, table, file, "")


def _filtered(value: Mapping[str, Any], table: SettingsTable, file: str, above: str) -> Filtered:
    kept: dict[str, Any] = {}
    unknown: list[str] = []
    for key, item in value.items():
        setting = table.setting(key)
        where = f"{above}{key}"
        if item is None and not setting.may_be_null:
            raise _wrong(file, where, "it should not be null", setting)
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
        f"{file}: the setting {where} has an unexpected value: {reason}", _hint(file, where)
    )


def _hint(file: str, where: str) -> str:
    return (
        f"remove {where} from a copy of {file} if the model works without it; or read the model's "
        "files and, if you trust them, add --trust_remote_code"
    )
