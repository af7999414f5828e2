"""Reads and checks the whole list of models before any work starts."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from embconvert import hub
from embconvert.console import Console
from embconvert.errors import UsageError
from embconvert.fidelity.texts import calibration_texts
from embconvert.manifest.layouts import check_layout
from embconvert.models.choices import Command
from embconvert.plan.plan import make_steps
from embconvert.plan.search import make_search
from embconvert.request import yaml_tree
from embconvert.request.fleet_options import ENTRY_OPTIONS
from embconvert.request.option_file import OptionFile, TooManyErrors, above
from embconvert.request.options import Option
from embconvert.request.parsing import make_request, parse_options
from embconvert.request.places import output_folder
from embconvert.request.records import BatchRequest, Request
from embconvert.request.yaml_tree import Place, Scalar, YamlNode
from embconvert.source.device import check_device

#: Bounds of a list; `--help` names them.
MAX_LIST_BYTES = 1 << 24
MAX_MODELS = 100_000
_TOP_KEYS = ("defaults", "models")
_EXAMPLE = "write `models:` and below it one `- org/name` per model"

_OPTIONS = "use the options of `embconvert all --help`, except those of the whole run"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One model of the list, and its line, from 1."""

    line: int
    request: Request
    folder: Path

    @property
    def model_id(self) -> str:
        """The id as written in the list."""
        return self.request.model_id

    @property
    def key(self) -> str:
        """Identifies the model, independent of its place in the list and of the machine."""
        return f"{self.request.output_parent_dir.as_posix()}\0{self.model_id}"


def read_entries(batch: BatchRequest, console: Console | None = None) -> list[Entry]:
    """Reads a list and checks what can be known without network and torch, with progress.

    Raises UsageError or SeveralErrors, which have the line and column of each error.
    """
    return _List(batch, console or Console(quiet=True, debug=False)).read()


class _List:
    def __init__(self, batch: BatchRequest, console: Console) -> None:
        self._batch = batch
        self._console = console
        self._file = OptionFile(batch.file, console.say)
        self._digests: dict[Path | None, str] = {}
        self._run = {"offline": batch.offline, "quiet": batch.quiet, "debug": batch.debug}

    def read(self) -> list[Entry]:
        tree = self._file.read(MAX_LIST_BYTES)
        entries: list[Entry] = []
        try:
            entries = self._entries(tree)
            self._check_folders(entries)
        except TooManyErrors:
            pass
        self._file.check()
        return entries

    def _entries(self, tree: YamlNode) -> list[Entry]:
        parts: dict[str, YamlNode] = {}
        if not isinstance(tree, yaml_tree.Mapping):
            self._file.note(tree.place, "this is not a list of models", _EXAMPLE)
            return []
        for key, value in self._file.pairs(tree, _TOP_KEYS, "is not a part of a list", _EXAMPLE):
            parts[key] = value
        defaults: Mapping[str, str] = {}
        if "defaults" in parts:
            options = {n: o for n, o in ENTRY_OPTIONS.items() if n != "model_id"}
            defaults = self._words(parts["defaults"], options)
        models = parts.get("models")
        if not isinstance(models, yaml_tree.Sequence) or not models.items:
            place = models.place if models else tree.place
            self._file.note(place, "the list has no models", _EXAMPLE)
            return []
        if len(models.items) > MAX_MODELS:
            first_too_many = models.items[MAX_MODELS].place
            self._file.note(
                first_too_many, f"the list has over {MAX_MODELS:,} models", "split the list"
            )
            return []
        own = {
            n: str(v) for n in ("output_parent_dir", "cache_dir") if (v := getattr(self._batch, n))
        }
        shared = above(defaults, own, ENTRY_OPTIONS)
        entries = []
        with self._console.progress(f"reading {self._batch.file}", len(models.items)) as advance:
            for item in models.items:
                entry = self._entry(item, shared)
                if entry is not None:
                    entries.append(entry)
                advance(1)
        return entries

    def _words(self, node: YamlNode, options: Mapping[str, Option]) -> dict[str, str]:
        return self._file.words(node, options, "is not an option of a model", _OPTIONS)

    def _entry(self, node: YamlNode, shared: Mapping[str, str]) -> Entry | None:
        before = self._file.errors
        if isinstance(node, Scalar):
            own = {"model_id": node.text or ""}
        else:
            own = self._words(node, ENTRY_OPTIONS)
        if self._file.errors > before:
            return None
        try:
            fields = parse_options(ENTRY_OPTIONS.values(), above(shared, own, ENTRY_OPTIONS))
            request = make_request(Command.ALL, {**self._run, **fields})
            hub.check(request)
            check_device(request.device)
            calibration = self._calibration(request.calibration_dataset)
            check_layout(request, 0)
            make_steps(request, calibration)
            make_search(request, calibration)
            folder = output_folder(request)
        except UsageError as error:
            hint = error.hint
            if "model_id" not in own:
                hint = "write `model_id: org/name`, or a local folder"
            self._file.note(node.place, error.message, hint)
            return None
        return Entry(line=node.place.line, request=request, folder=folder)

    def _calibration(self, dataset: Path | None) -> str:
        """Returns the digest of calibration texts; reads a file that models share only once."""
        if dataset not in self._digests:
            self._digests[dataset] = calibration_texts(dataset).digest
        return self._digests[dataset]

    def _check_folders(self, entries: Sequence[Entry]) -> None:
        """Records errors for models with the same output folder, or one inside another's."""
        hint = "remove one, or give one of them another output_parent_dir"
        parents = {entry.request.output_parent_dir for entry in entries}
        # A folder may have several names, by links or `..`; most of 100,000 models have one parent.
        real = {parent: os.path.realpath(parent) for parent in parents}
        paths = []
        for entry in entries:
            parent = entry.request.output_parent_dir
            inside = entry.folder.parts[len(parent.parts) :]
            paths.append(os.path.join(real[parent], *inside))  # noqa: PTH118
        by_path: dict[str, Entry] = {}
        for path, entry in zip(paths, entries, strict=True):
            place = Place(line=entry.line, column=1)
            first = by_path.setdefault(path, entry)
            if first is not entry:
                where = f"the same output folder as line {first.line}: {entry.folder}"
                self._file.note(place, f"{entry.model_id} has {where}", hint)
        for path, entry in zip(paths, entries, strict=True):
            for other in filter(None, map(by_path.get, _folders_around(path))):
                where = f"{entry.folder}, inside that of line {other.line}"
                place = Place(line=entry.line, column=1)
                self._file.note(place, f"{entry.model_id} has the output folder {where}", hint)


def _folders_around(path: str) -> Iterator[str]:
    while (end := path.rfind("/")) > 0:
        path = path[:end]
        yield path
