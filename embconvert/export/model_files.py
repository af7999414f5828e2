"""Replaces functions and methods in the Python files of a model's modules."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_MISSING = object()
LIBRARY = "transformers.models."


@contextlib.contextmanager
def replaced_in_files(
    model: "torch.nn.Module",
    functions: Mapping[str, Callable[..., Any]],
    *,
    also_built_in: bool = False,
) -> Iterator[None]:
    """Replaces functions inside the block, by their names.

    Args:
        also_built_in: Replace what a file does not define, as Python's own functions.
    """
    names = {type(part).__module__ for part in model.modules()}
    replaced: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for file in (vars(sys.modules[name]) for name in names if name in sys.modules):
            for name, function in functions.items():
                if name in file or also_built_in:
                    replaced.append((file, name, file.get(name, _MISSING)))
                    file[name] = function
        yield
    finally:
        for file, name, function in replaced:
            if function is _MISSING:
                del file[name]
            else:
                file[name] = function


@contextlib.contextmanager
def replaced_methods(
    model: "torch.nn.Module", methods: Mapping[tuple[str, str], Callable[..., Any]]
) -> Iterator[None]:
    """Replaces methods inside the block, by the names of their classes and their own.

    Only those of transformers: a model's own code may have others of the same names.
    """
    names = {name for p in model.modules() if (name := type(p).__module__).startswith(LIBRARY)}
    replaced: list[tuple[type, str, Any]] = []
    try:
        for file in (vars(sys.modules[name]) for name in names if name in sys.modules):
            for (owner, method), ours in methods.items():
                found = file.get(owner)
                if isinstance(found, type) and method in vars(found):
                    replaced.append((found, method, vars(found)[method]))
                    setattr(found, method, ours)
        yield
    finally:
        # One class may be in two files.
        for owner_class, method, theirs in reversed(replaced):
            setattr(owner_class, method, theirs)
