"""embconvert converts embedding models to ONNX and verifies that the embeddings stay the same."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embconvert.api import (
        Conversion,
        EvaluationResult,
        Progress,
        Verification,
        convert,
        evaluate,
        verify,
    )

__version__ = "0.1.0"

__all__ = [
    "Conversion",
    "EvaluationResult",
    "Progress",
    "Verification",
    "__version__",
    "convert",
    "evaluate",
    "verify",
]


def __getattr__(name: str) -> Any:
    # Imported when used: the command line imports this package first, and must answer at once.
    if name in __all__:
        return getattr(importlib.import_module("embconvert.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
