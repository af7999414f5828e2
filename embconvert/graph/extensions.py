"""The library of onnxruntime-extensions: operators for texts, which ONNX Runtime does not have."""

import importlib.util
from pathlib import Path
from typing import Any

_PACKAGE = "onnxruntime_extensions"


def library() -> Path:
    """Returns the library's file; the package is not imported, as it imports transformers.

    Raises ValueError if it is not installed.
    """
    found = importlib.util.find_spec(_PACKAGE)
    for folder in (found.submodule_search_locations or []) if found else []:
        for pattern in ("_extensions_pydll*.so", "_extensions_pydll*.pyd"):
            for path in Path(folder).glob(pattern):
                return path
    raise ValueError("onnxruntime-extensions is not installed: pip install onnxruntime-extensions")


def with_extensions(options: Any) -> Any:
    """Returns session options with the library's operators; raises ValueError without it."""
    options.register_custom_ops_library(str(library()))
    return options
