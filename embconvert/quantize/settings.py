"""What every recipe is told."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embconvert.config import QuantizeOptions

Feed = dict[str, npt.NDArray[np.int64]]


@dataclass(frozen=True, kw_only=True)
class QuantizeSettings:
    """What every recipe is told.

    Attributes:
        options: What the user can choose.
        calibration: Yields inputs, each (texts, seq) int64, given the graph's input names.
        warn: Tells the user what is done otherwise than expected.
        work: A folder for temporary files on the output's file system.
    """

    options: QuantizeOptions
    calibration: Callable[[list[str]], Iterator[Feed]]
    work: Path
    warn: Callable[[str], None] = lambda _: None
