"""What every recipe is told."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Feed = dict[str, npt.NDArray[np.int64]]


@dataclass(frozen=True, kw_only=True)
class QuantizeSettings:
    """What every recipe is told.

    Attributes:
        per_channel: One scale for each channel of a weight rather than one for all.
        reduce_range: 7-bit weights: x86 without VNNI adds two products in 16 bits, which 8-bit
            weights overflow.
        skip_shape_inference: Do not run symbolic shape inference.
        calibration: Yields inputs, each (texts, seq) int64, given the graph's input names.
        work: A folder for temporary files on the output's file system.
    """

    per_channel: bool
    reduce_range: bool
    skip_shape_inference: bool
    calibration: Callable[[list[str]], Iterator[Feed]]
    work: Path
