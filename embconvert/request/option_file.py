"""Reads options from YAML or JSON files; tells all their errors at once, each with its place."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from embconvert.errors import SeveralErrors, UsageError
from embconvert.request import yaml_tree
from embconvert.request.options import Option
from embconvert.request.parsing import understood
from embconvert.request.usual_names import nearest_option
from embconvert.request.yaml_tree import NotYamlError, Place, Scalar, YamlNode, parse_yaml
from embconvert.user_files import UnreadableFileError, in_words, read_text

# More errors than this are left for the next attempt.
_MAX_ERRORS = 20


class TooManyErrors(Exception):  # noqa: N818 - only ends the reading
    """A file has so many errors that the rest is not read."""


class OptionFile:
    """A file of options, and the errors found in it; `say` tells what words were taken for."""

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self._path = path
        self._say = say
        self._errors: list[tuple[Place, UsageError]] = []
        #: Remarks that were made; lists repeat their values.
        self._said: set[str] = set()

    @property
    def errors(self) -> int:
        """How many were noted."""
        return len(self._errors)

    def read(self, max_bytes: int) -> YamlNode:
        """Reads the file; raises UsageError if it is too large, unreadable, or not YAML."""
        try:
            return parse_yaml(read_text(self._path, max_bytes))
        except UnreadableFileError as error:
            hint = f"give a YAML or JSON file of at most {in_words(max_bytes)}, in UTF-8"
            raise UsageError(f"{self._path} {error}", hint) from error
        except NotYamlError as error:
            hint = "check the indentation, and put values with special characters in quotes"
            raise self._error(error.place, str(error), hint) from error

    def _error(self, place: Place, message: str, hint: str) -> UsageError:
        return UsageError(f"{self._path}:{place.line}:{place.column}: {message}", hint)

    def note(self, place: Place, message: str, hint: str) -> None:
        """Notes an error; raises TooManyErrors if the rest of the file should not be read."""
        self._errors.append((place, self._error(place, message, hint)))
        if len(self._errors) == _MAX_ERRORS:
            raise TooManyErrors

    def check(self) -> None:
        """Raises SeveralErrors if an error was noted."""
        if self._errors:
            in_order = sorted(self._errors, key=lambda found: found[0])
            raise SeveralErrors([error for _, error in in_order])

    def pairs(
        self, node: yaml_tree.Mapping, known: Iterable[str], problem: str, cure: str
    ) -> Iterator[tuple[str, YamlNode]]:
        """Yields the known keys with their values; notes unknown and repeated keys.

        Args:
            known: Its possible keys.
            problem: What is wrong with another key, after its name.
            cure: The hint for one that resembles no known key.
        """
        seen: set[str] = set()
        known = tuple(known)
        for key, value in node.pairs:
            name = option_name(key)
            if name not in known:
                near = nearest_option(name, known)
                hint = f"did you mean {near}?" if near else cure
                self.note(key.place, f"{key.text!r} {problem}", hint)
            elif name in seen:
                self.note(key.place, f"{name} occurs twice", "remove one of them")
            else:
                seen.add(name)
                yield name, value

    def words(
        self, node: YamlNode, options: Mapping[str, Option], problem: str, cure: str
    ) -> dict[str, str]:
        """Returns the valid options of a mapping, as on a command line; notes the others."""
        words: dict[str, str] = {}
        if not isinstance(node, yaml_tree.Mapping):
            self.note(
                node.place, "options are expected here", "write `option: value`, one per line"
            )
            return words
        for name, value in self.pairs(node, options, problem, cure):
            try:
                word = _word(value, options[name])
                remark = understood(options[name], word)
            except UsageError as error:
                self.note(value.place, error.message, error.hint)
            else:
                words[name] = word
                if remark is not None and remark not in self._said:
                    self._said.add(remark)
                    self._say(f"{self._path}:{value.place.line}: {remark}")
        return words


def option_name(key: Scalar) -> str:
    """Returns a key as options are named in Python; both spellings are understood."""
    return (key.text or "").replace("-", "_")


def above(
    lower: Mapping[str, str], upper: Mapping[str, str], options: Mapping[str, Option]
) -> dict[str, str]:
    """Merges words of two levels by option; an upper one replaces all lower ones of its field."""
    fields = {options[name].request_field for name in upper}
    kept = {n: w for n, w in lower.items() if options[n].request_field not in fields}
    return {**kept, **upper}


def _word(node: YamlNode, option: Option) -> str:
    """Returns an option's value as on the command line; raises UsageError for an invalid one."""
    several = isinstance(node, yaml_tree.Sequence) and option.several
    parts: tuple[Any, ...] = node.items if several else (node,)  # type: ignore[union-attr]
    if not parts or not all(isinstance(part, Scalar) for part in parts):
        what = "one value, or a list of values" if option.several else "one value"
        raise UsageError(f"{option.name} needs {what}", f"write {option.name}: {option.metavar}")
    if any(part.text is None for part in parts):
        raise UsageError(f"{option.name} has no value", "add a value, or remove the option")
    if option.is_flag and parts[0].switch is not None:
        return str(parts[0].switch).lower()
    return ",".join(part.text for part in parts)
