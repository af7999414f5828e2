"""What determines a derived file, besides the graph that it is derived from."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embconvert.models.choices import OptimizationLevel, Precision
from embconvert.models.forms import FileForm

#: From the names of a graph's inputs, batches of calibration texts.
Feeds = Callable[[list[str]], Iterable[Mapping[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class DeriveSettings:
    """Settings of a derived file; each kind uses some of them. `folder` has the tokenizer."""

    form: FileForm
    level: OptimizationLevel
    precision: Precision
    calibration: Feeds
    work: Path
    folder: Path
