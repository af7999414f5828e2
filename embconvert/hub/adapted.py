"""Finds a model and the adapters that are merged with it."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from embconvert.console import Console
from embconvert.errors import UnsupportedModelError, UsageError
from embconvert.models.adapters import AdapterChoice
from embconvert.models.values import ResolvedAdapter, ResolvedModel
from embconvert.request.records import Request
from embconvert.source.adapters.config import base_of
from embconvert.source.adapters.files import (
    adapter_place,
    instead_of_base,
    local_files,
    own_place,
    own_places,
    resolve_adapter,
)
from embconvert.source.adapters.inside import place_of_task, resolve_inside
from embconvert.source.folder import resolve_folder
from embconvert.source.settings.own_code import OwnCode, settle_code
from embconvert.source.settings.routes import read_modules


@dataclass(frozen=True, kw_only=True)
class Found:
    """A model's or an adapter's files on disk.

    Attributes:
        sha256: Of files whose content is known, by path.
    """

    model_id: str
    folder: Path
    revision: str | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)

    @property
    def public_id(self) -> str:
        """The hub id, or `./` and a local folder's name, without its private path."""
        return f"./{self.folder.name}" if self.revision is None else self.model_id


#: Finds the files of a request's model; the flag says that only an adapter is needed.
Find = Callable[[Request, bool], Found]


def resolve_adapted(request: Request, console: Console, find: Find) -> ResolvedModel:
    """Returns a model with its adapters; errors as `hub.resolve`."""
    base = find(request, False)
    adapters: list[ResolvedAdapter] = []
    modules_of: Found | None = None
    place = adapter_place(base.folder)
    if place is not None:
        adapter = base
        base = find(_base_request(request, adapter, place), False)
        if adapter_place(base.folder) is not None:
            raise UnsupportedModelError(
                f"{adapter.model_id} is an adapter (PEFT) of {base.model_id}, which is an adapter "
                "itself",
                f"write --model_id BASE --adapter {base.model_id} --adapter {adapter.model_id}, "
                "where BASE is a whole model",
            )
        console.say(f"{adapter.model_id} is an adapter (PEFT) of {base.model_id}")
        adapters.append(_resolved(adapter, place, is_model=True))
        if read_modules(adapter.folder):
            modules_of = adapter
    for found, chosen in _all_chosen(request, base, find):
        adapters.append(chosen)
        if found is not base and read_modules(found.folder):
            modules_of = found
    if modules_of is None:
        resolved = _resolve_folder(request, base, base.folder)
    else:
        console.say(f"the modules and prompts are those of {modules_of.model_id}")
        resolved = _with_modules_of(request, modules_of, base)
    _tell_of_tasks(resolved, adapters, console)
    if adapters and (resolved.static is not None or resolved.routed is not None):
        raise UnsupportedModelError(
            f"{base.model_id} is a model of static embeddings or with routes, with which no "
            "adapter is merged",
            "merge it with PEFT (merge_and_unload), and convert the result",
        )
    return replace(resolved, adapters=tuple(adapters))


def _base_request(request: Request, adapter: Found, place: str) -> Request:
    """Returns the request for the base model that an adapter names.

    Raises UsageError if it names none of a hub, or a folder of this machine would be read in its
    place, or code that comes with the base model would run.
    """
    base, revision = base_of(adapter.folder / place)
    named = "BASE" if base is None else base
    hint = f"write --model_id {named} --adapter {adapter.model_id}"
    if base is None:
        raise UsageError(
            f"{adapter.model_id} is an adapter (PEFT), whose settings name no base model of a hub",
            f"{hint}, where BASE is the model for which it was trained",
        )
    if Path(base).exists():
        raise UsageError(
            f"{adapter.model_id} is an adapter (PEFT) of {base}; there is a folder of that name "
            "here, which an adapter cannot choose",
            f"{hint} to use the folder, or run the command in another folder",
        )
    if request.trust_remote_code:
        raise UsageError(
            f"{adapter.model_id} is an adapter (PEFT) of {base}, whose code would be run with "
            "--trust_remote_code",
            f"if you trust {base}, {hint}",
        )
    pinned = dict(request.pins).get(base)
    return replace(request, model_id=base, revision=pinned or revision, adapter=())


def _tell_of_tasks(
    resolved: ResolvedModel, adapters: Sequence[ResolvedAdapter], console: Console
) -> None:
    """Says what is used in place of a repository's own code, and which of its adapters.

    Raises UsageError if its code computes nothing without one.
    """
    if not resolved.tasks:
        return
    names = ", ".join(resolved.tasks)
    if not adapters and not resolved.has_inner_adapters:
        raise UsageError(
            f"{resolved.model_id} has an adapter for each task, and needs one: {names}",
            f"add --adapter {resolved.tasks[0]}",
        )
    console.say(
        f"the model's own code is not run: transformers' {resolved.architecture.model_type} "
        "computes the same"
    )
    if not adapters:
        console.say(
            "no adapter is merged, as by the model's own code when no task is named; --adapter can "
            f"be {names}"
        )


def _all_chosen(
    request: Request, base: Found, find: Find
) -> Iterator[tuple[Found, ResolvedAdapter]]:
    """Yields the adapters of `--adapter`, each with the files that it is in."""
    if not request.adapter:
        return
    code = settle_code(
        base.folder, read_modules(base.folder), trust_remote_code=request.trust_remote_code
    )
    for choice in request.adapter:
        inside = place_of_task(choice, code)
        if inside is not None:
            yield (
                base,
                resolve_inside(base.folder, code, inside, weight=choice.weight, sha256=base.sha256),
            )
        else:
            found, place = _chosen(choice, request, base, find, code)
            yield found, _resolved(found, place, choice)


def _chosen(
    choice: AdapterChoice, request: Request, base: Found, find: Find, code: OwnCode
) -> tuple[Found, str]:
    """Returns the files of one adapter of `--adapter`, and where in its folder it is."""
    if "/" not in choice.name and choice.revision is None:
        own = own_places(local_files(base.folder))
        place = own_place(choice.name, own)
        if place is not None:
            return base, place
        if not Path(choice.name).is_dir():
            inner = () if code.inner is None else code.tasks
            names = ", ".join((*(path.rpartition("/")[2] for path in own), *inner))
            raise UsageError(
                f"--adapter {choice.name}: {request.model_id} has no adapter of that name, and "
                "there is no such folder",
                f"it has {names}" if names else "give a hub id (org/name) or a local folder",
            )
    pinned = dict(request.pins).get(choice.name)
    wanted = replace(
        request,
        model_id=choice.name,
        revision=choice.revision or pinned,
        route=None,
        adapter=(),
        trust_remote_code=False,
    )
    found = find(wanted, True)
    modules = read_modules(found.folder)
    in_module = bool(modules) and not (found.folder / "adapter_config.json").is_file()
    return found, modules[0].path if in_module else ""


def _resolved(
    found: Found, place: str, choice: AdapterChoice | None = None, *, is_model: bool = False
) -> ResolvedAdapter:
    """Returns an adapter; one of the model's own has the name of its folder."""
    own = choice is not None and "/" not in choice.name and place != ""
    return resolve_adapter(
        found.folder,
        place,
        name=place if own else found.public_id,
        revision=None if own else found.revision,
        weight=1.0 if choice is None else choice.weight,
        is_model=is_model,
        sha256=found.sha256,
    )


def _resolve_folder(
    request: Request, model: Found, folder: Path, homes: Sequence[Path] = (), **sha256: str
) -> ResolvedModel:
    return resolve_folder(
        folder,
        model_id=model.model_id,
        revision=model.revision,
        route=request.route,
        trust_remote_code=request.trust_remote_code,
        sha256=sha256 or model.sha256,
        homes=homes,
    )


def _with_modules_of(request: Request, adapter: Found, base: Found) -> ResolvedModel:
    """Returns a base model with the modules and the tokenizer of an adapter."""
    if request.trust_remote_code:
        raise UsageError(
            f"the adapter {adapter.model_id} has modules of its own, which cannot be used together "
            "with the code of another repository",
            "remove --trust_remote_code; or merge the adapter with PEFT first",
        )
    paths = instead_of_base(adapter.folder, base.folder)
    known = {}
    for path, file in paths.items():
        for one in (adapter, base):
            if file.is_relative_to(one.folder):
                known[path] = one.sha256.get(file.relative_to(one.folder).as_posix())
    with tempfile.TemporaryDirectory() as name:
        together = Path(name)
        for path, file in paths.items():
            (together / path).parent.mkdir(parents=True, exist_ok=True)
            (together / path).symlink_to(file.absolute())
        resolved = _resolve_folder(
            request,
            base,
            together,
            (adapter.folder, base.folder),
            **{path: digest for path, digest in known.items() if digest},
        )
    return replace(resolved, folder=adapter.folder, home=base.folder, elsewhere=paths)
