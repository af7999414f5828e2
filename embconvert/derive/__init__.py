"""Derives files of other forms from published graphs: a module for each kind, named after it."""

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from embconvert.derive.settings import DeriveSettings
from embconvert.errors import DeriveError, EmbconvertError, reason_of
from embconvert.models.values import DerivedModel, OnnxArtifact

#: Of each module `derive`; its arguments are those of derive(), which adds the form.
Derive = Callable[[OnnxArtifact, Path, DeriveSettings], DerivedModel]


def derive(source: OnnxArtifact, path: Path, settings: DeriveSettings) -> DerivedModel:
    """Writes a file of another form.

    Args:
        source: A published graph; it is not changed.

    Raises:
        DeriveError: The graph cannot have the form.
        OSError: The file cannot be written.
    """
    make: Derive = importlib.import_module(f"{__name__}.{settings.form.kind}").derive
    try:
        made = make(source, path, settings)
    except (MemoryError, OSError, EmbconvertError):
        raise
    except Exception as error:
        raise DeriveError(
            f"{path.name} could not be made: {reason_of(error)}",
            "omit the option that asks for this file (--shape, --format or --tokenizer); --debug "
            "shows more, and please report the model",
        ) from error
    return replace(made, artifact=replace(made.artifact, forms=(*source.forms, settings.form)))
