"""Settings of derived files."""

from pathlib import Path
from typing import Any

from embconvert.derive.settings import DeriveSettings
from embconvert.models.choices import OptimizationLevel, Precision
from embconvert.models.forms import FileForm


def derive_settings(form: FileForm, folder: Path, **changes: Any) -> DeriveSettings:
    """Returns those of a float32 graph of level 1, with temporary files in a folder."""
    values: dict[str, Any] = {
        "form": form, "level": OptimizationLevel.BASIC, "precision": Precision.FLOAT32,
        "calibration": lambda _: (), "work": folder, "folder": folder,
    }  # fmt: skip
    return DeriveSettings(**(values | changes))
