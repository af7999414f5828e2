"""The list of models: read, checked and complete before any work starts."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embconvert import hub
from embconvert.console import Console
from embconvert.errors import SeveralErrors, UsageError
from embconvert.fidelity.texts import calibration_texts
from embconvert.fleet import yaml_tree
from embconvert.fleet.yaml_tree import Node, NotYamlError, Place, Scalar, parse_yaml
from embconvert.manifest.layouts import check_layout
from embconvert.models.choices import Command, nearest
from embconvert.plan.plan import make_steps
from embconvert.plan.search import make_search
from embconvert.request.fleet_options import ENTRY_OPTIONS
from embconvert.request.options import Option
from embconvert.request.parsing import make_request, parse_options
from embconvert.request.records import BatchRequest, Request
from embconvert.source.device import check_device
from embconvert.user_files import UnreadableFileError, in_words, read_text

#: Bounds of a list; `--help` says them.
MAX_LIST_BYTES = 1 << 24
MAX_MODELS = 100_000
# Who has more to mend than this mends the first and looks again.
_MAX_ERRORS = 20
_TOP_KEYS = ("defaults", "models")
_EXAMPLE = "write `models:` and below it one `- org/name` for each model"

_OPTIONS = "those of `embconvert all --help` can be given, but for what is the whole run's"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One model of the list.

    Attributes:
        line: Where it stands, from 1.
        request: What is to be done.
        folder: Where it goes.
    """

    line: int
    request: Request
    folder: Path

    @property
    def model_id(self) -> str:
        """As the list has it."""
        return self.request.model_id

    @property
    def key(self) -> str:
        """What tells it from all others, wherever the list is read."""
        return f"{self.request.output_parent_dir.as_posix()}\0{self.model_id}"


class _TooManyErrors(Exception):  # noqa: N818 - it is only a way out
    pass


def read_entries(batch: BatchRequest, console: Console | None = None) -> list[Entry]:
    """Reads a list and checks all that can be known without network and torch.

    Args:
        batch: Names the list.
        console: Shows how far it is: a list of 100,000 models takes some seconds.

    Raises:
        UsageError: The file cannot be read.
        SeveralErrors: All that is wrong in it, each with its line and column.
    """
    return _List(batch, console or Console(quiet=True, debug=False)).read()


class _List:
    """One list while it is read."""

    def __init__(self, batch: BatchRequest, console: Console) -> None:
        self._batch = batch
        self._file = batch.file
        self._errors: list[tuple[Place, UsageError]] = []
        self._console = console
        self._digests: dict[Path | None, str] = {}
        self._run = {"offline": batch.offline, "quiet": batch.quiet, "debug": batch.debug}

    def read(self) -> list[Entry]:
        try:
            tree = parse_yaml(self._text())
        except NotYamlError as error:
            hint = "check the indentation there, and quote what has special characters"
            raise self._error(error.place, str(error), hint) from error
        entries: list[Entry] = []
        try:
            entries = self._entries(tree)
            self._check_folders(entries)
        except _TooManyErrors:
            pass
        if self._errors:
            in_order = sorted(self._errors, key=lambda found: found[0])
            raise SeveralErrors([error for _, error in in_order])
        return entries

    def _text(self) -> str:
        try:
            return read_text(self._file, MAX_LIST_BYTES)
        except UnreadableFileError as error:
            hint = f"give a YAML or JSON file of at most {in_words(MAX_LIST_BYTES)}, in UTF-8"
            raise UsageError(f"{self._file} {error}", hint) from error

    def _error(self, place: Place, message: str, hint: str) -> UsageError:
        return UsageError(f"{self._file}:{place.line}:{place.column}: {message}", hint)

    def _note(self, place: Place, message: str, hint: str) -> None:
        self._errors.append((place, self._error(place, message, hint)))
        if len(self._errors) == _MAX_ERRORS:
            raise _TooManyErrors

    def _entries(self, tree: Node) -> list[Entry]:
        parts: dict[str, Node] = {}
        if not isinstance(tree, yaml_tree.Mapping):
            self._note(tree.place, "this is no list of models", _EXAMPLE)
            return []
        for key, value in self._pairs(tree, _TOP_KEYS, "is not a part of a list", _EXAMPLE):
            parts[key] = value
        defaults: Mapping[str, str] = {}
        if "defaults" in parts:
            options = {n: o for n, o in ENTRY_OPTIONS.items() if n != "model_id"}
            defaults = self._words(parts["defaults"], options)
        models = parts.get("models")
        if not isinstance(models, yaml_tree.Sequence) or not models.items:
            place = models.place if models else tree.place
            self._note(place, "it names no models", _EXAMPLE)
            return []
        if len(models.items) > MAX_MODELS:
            first_too_many = models.items[MAX_MODELS].place
            self._note(first_too_many, f"it lists over {MAX_MODELS:,} models", "split the list")
            return []
        own = {
            n: str(v) for n in ("output_parent_dir", "cache_dir") if (v := getattr(self._batch, n))
        }
        shared = _above(defaults, own)
        entries = []
        with self._console.progress(f"reading {self._file}", len(models.items)) as advance:
            for item in models.items:
                entry = self._entry(item, shared)
                if entry is not None:
                    entries.append(entry)
                advance(1)
        return entries

    def _pairs(
        self, node: yaml_tree.Mapping, known: Iterable[str], problem: str, cure: str
    ) -> Iterator[tuple[str, Node]]:
        """Yields the known keys with their values; notes the others, and those given twice."""
        seen: set[str] = set()
        known = tuple(known)
        for key, value in node.pairs:
            name = (key.text or "").replace("-", "_")
            if name not in known:
                near = nearest(name, known)
                hint = f"did you mean {near}?" if near else cure
                self._note(key.place, f"{key.text!r} {problem}", hint)
            elif name in seen:
                self._note(key.place, f"{name} is given twice", "give it once")
            else:
                seen.add(name)
                yield name, value

    def _words(self, node: Node, options: Mapping[str, Option]) -> dict[str, str]:
        """Returns the words of a mapping's options, those that are wrong left out and noted."""
        words: dict[str, str] = {}
        if not isinstance(node, yaml_tree.Mapping):
            self._note(node.place, "here must be options", "write `option: value`, one a line")
            return words
        for name, value in self._pairs(node, options, "is not an option of a model", _OPTIONS):
            try:
                word = _word(value, options[name])
                options[name].parse(word)
            except UsageError as error:
                self._note(value.place, error.message, error.hint)
            else:
                words[name] = word
        return words

    def _entry(self, node: Node, shared: Mapping[str, str]) -> Entry | None:
        before = len(self._errors)
        if isinstance(node, Scalar):
            own = {"model_id": node.text or ""}
        else:
            own = self._words(node, ENTRY_OPTIONS)
        if len(self._errors) > before:
            return None
        try:
            fields = parse_options(ENTRY_OPTIONS.values(), _above(shared, own))
            request = make_request(Command.ALL, {**self._run, **fields})
            hub.check(request)
            check_device(request.device)
            calibration = self._calibration(request.calibration_dataset)
            check_layout(request, 0)
            make_steps(request, calibration)
            make_search(request, calibration)
            folder = hub.output_folder(request)
        except UsageError as error:
            hint = error.hint
            if "model_id" not in own:
                hint = "write `model_id: org/name`, or a local folder"
            self._note(node.place, error.message, hint)
            return None
        return Entry(line=node.place.line, request=request, folder=folder)

    def _calibration(self, dataset: Path | None) -> str:
        """Returns what identifies calibration texts; a file that models share is read once."""
        if dataset not in self._digests:
            self._digests[dataset] = calibration_texts(dataset).digest
        return self._digests[dataset]

    def _check_folders(self, entries: Sequence[Entry]) -> None:
        """Notes models that go to one folder, or to a folder in another's."""
        hint = "remove one, or give one of them another output_parent_dir"
        here = os.getcwd()  # asked once, not for each of 100,000 models  # noqa: PTH109
        paths = [os.path.join(here, entry.folder) for entry in entries]  # noqa: PTH118
        by_path: dict[str, Entry] = {}
        for path, entry in zip(paths, entries, strict=True):
            place = Place(line=entry.line, column=1)
            first = by_path.setdefault(path, entry)
            if first is not entry:
                where = f"{entry.folder}, as that of line {first.line} does"
                self._note(place, f"{entry.model_id} goes to {where}", hint)
        for path, entry in zip(paths, entries, strict=True):
            for other in filter(None, map(by_path.get, _folders_around(path))):
                where = f"{entry.folder}, inside the folder of line {other.line}"
                place = Place(line=entry.line, column=1)
                self._note(place, f"{entry.model_id} goes to {where}", hint)


def _folders_around(path: str) -> Iterator[str]:
    while (end := path.rfind("/")) > 0:
        path = path[:end]
        yield path


def _above(lower: Mapping[str, str], upper: Mapping[str, str]) -> dict[str, str]:
    """Returns the words of both; an upper one replaces all lower ones of the same field."""
    fields = {ENTRY_OPTIONS[name].request_field for name in upper}
    kept = {n: w for n, w in lower.items() if ENTRY_OPTIONS[n].request_field not in fields}
    return {**kept, **upper}


def _word(node: Node, option: Option) -> str:
    """Returns an option's value as the command line would have it.

    Raises:
        UsageError: It is none.
    """
    several = isinstance(node, yaml_tree.Sequence) and option.several
    parts: tuple[Any, ...] = node.items if several else (node,)  # type: ignore[union-attr]
    if not parts or not all(isinstance(part, Scalar) for part in parts):
        what = "one value, or a list of values" if option.several else "one value"
        raise UsageError(f"{option.name} needs {what}", f"write {option.name}: {option.metavar}")
    if any(part.text is None for part in parts):
        raise UsageError(f"{option.name} has no value", "give it one, or leave it out")
    if option.is_flag and parts[0].switch is not None:
        return str(parts[0].switch).lower()
    return ",".join(part.text for part in parts)
