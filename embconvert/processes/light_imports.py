"""Imports libraries without modules that a conversion never uses.

At the top of their modules, transformers and sentence-transformers import training metrics, sparse
matrices, distributed tensors, and torch's compiler for its decorators, and read what each of 500
models exports; onnx_ir imports sympy, for arithmetic with symbolic sizes. Without these a verified
conversion of MiniLM takes a sixth less time and a fifth less memory (docs/schedule.md). All of them
can still be imported afterwards.
"""

import contextlib
import gc
import importlib
import importlib.machinery
import sys
import types
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

_MODELS = "transformers.models"
# Asked before scipy's solver for losses and torch's distributed tensors are imported
# (transformers 5.24, utils/import_utils.py); a conversion computes no loss, in one process.
_ABSENT = ("is_scipy_available", "is_torch_distributed_available")


def import_all(names: Iterable[str]) -> None:
    """Imports modules ahead of need."""
    gc.disable()  # what an import makes stays
    for name in names:
        with _LIGHTLY.get(name.partition(".")[0], contextlib.nullcontext)():
            importlib.import_module(name)
    gc.freeze()
    gc.enable()


@contextlib.contextmanager
def importing_what_is_used() -> Iterator[None]:
    """Returns a context to import the two libraries in, and what they import."""
    import transformers.utils
    from transformers.utils import import_utils

    for name in _ABSENT:
        for module in (transformers.utils, import_utils):
            setattr(module, name, lambda: False)
    if _MODELS not in sys.modules:
        sys.modules[_MODELS] = _package_of_models()
    stand_ins = {
        # find_spec(), by which libraries look for it, wants a package with a spec.
        "sklearn": _package("sklearn"),
        "sklearn.metrics": _module("sklearn.metrics", _deferred("sklearn.metrics")),
        "scipy": _package("scipy"),
        "scipy.sparse": _module("scipy.sparse", _deferred("scipy.sparse")),
        "torch._dynamo": _torch_compiler(),
    }
    if any(name in sys.modules for name in stand_ins):
        yield
        return
    sys.modules |= stand_ins
    try:
        yield
    finally:
        for name in stand_ins:
            del sys.modules[name]


@contextlib.contextmanager
def importing_onnx_ir() -> Iterator[None]:
    """Returns a context to import onnx_ir in, which imports sympy only when it uses it.

    onnx_ir 1.0 makes a table of sympy's functions at import; all else waits for a symbolic size.
    """
    if "sympy" in sys.modules:
        yield
        return
    deferred, is_imported = _deferred("sympy"), False

    def attribute(name: str) -> Any:
        return getattr(importlib.import_module("sympy"), name) if is_imported else deferred(name)

    sys.modules["sympy"] = _module("sympy", attribute)
    try:
        yield
    finally:
        del sys.modules["sympy"]
        is_imported = True


#: In which context a library is imported, by its name.
_LIGHTLY = {
    "transformers": importing_what_is_used,
    "sentence_transformers": importing_what_is_used,
    "onnx_ir": importing_onnx_ir,
}


def _package_of_models() -> types.ModuleType:
    """Returns a package whose modules can be imported; another name imports the real package.

    That one reads all files of models, as transformers itself has done, to know what they export.
    """
    import transformers

    def attribute(name: str) -> Any:
        if sys.modules.get(_MODELS) is package:
            del sys.modules[_MODELS]
        return getattr(importlib.import_module(_MODELS), name)

    package = _module(_MODELS, attribute, also=("__all__",))  # for `import *`
    package.__path__ = [str(Path(path) / "models") for path in transformers.__path__]
    package.__spec__ = importlib.machinery.ModuleSpec(_MODELS, None, is_package=True)
    package.__spec__.submodule_search_locations = package.__path__
    return package


def _torch_compiler() -> types.ModuleType:
    """Returns a stub of torch._dynamo whose decorators do nothing; its modules can be imported."""
    import torch

    compiler = _module("torch._dynamo", lambda _: _decorator)
    compiler.__path__ = [f"{path}/_dynamo" for path in torch.__path__]
    return compiler


def _package(name: str) -> types.ModuleType:
    package = types.ModuleType(name)
    package.__spec__ = importlib.machinery.ModuleSpec(name, None)
    package.__path__ = []
    return package


def _module(
    name: str, attribute: Callable[[str], Any], also: Collection[str] = ()
) -> types.ModuleType:
    """Returns a module that has whatever it is asked for, of names with two underscores `also`."""
    module = types.ModuleType(name)

    def get(wanted: str) -> Any:
        if wanted.startswith("__") and wanted not in also:
            raise AttributeError(wanted)
        return attribute(wanted)

    module.__getattr__ = get  # type: ignore[method-assign]
    return module


def _deferred(module: str) -> Callable[[str], Callable[..., Any]]:
    """Returns a getter of a module's functions; the first call of one imports the module."""

    def attribute(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            return getattr(importlib.import_module(module), name)(*arguments, **named)

        return call

    return attribute


def _decorator(function: Any = None, *_arguments: Any, **_named: Any) -> Any:
    """Takes the place of the decorators that tell torch's compiler what to leave alone."""
    return function if callable(function) else lambda decorated: decorated
