"""What every recipe is told."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from embconvert.models.choices import QuantizeOptions
from embconvert.models.values import KeptNode

Feed = dict[str, npt.NDArray[np.int64]]


class Calibration(Protocol):
    """The texts that show what activations look like."""

    def __call__(self, inputs: list[str], tokens: int | None = None) -> Iterator[Feed]:
        """Yields inputs of a graph, each (texts, seq) int64.

        Args:
            inputs: The graph's names of them.
            tokens: About how many are enough: a part of the texts then, of all lengths.
        """


@dataclass(frozen=True, kw_only=True)
class QuantizeSettings:
    """What every recipe is told.

    Attributes:
        options: What the user can choose.
        calibration: Yields inputs.
        warn: Tells the user what is done otherwise than expected.
        keep: Notes a node that is left as it was.
        work: A folder for temporary files on the output's file system.
        wide: Names of the weights that half precision cannot hold.
    """

    options: QuantizeOptions
    calibration: Calibration
    work: Path
    warn: Callable[[str], None] = lambda _: None
    keep: Callable[[KeptNode], None] = lambda _: None
    wide: frozenset[str] = frozenset()

    def mapping_folder(self, graph: Path) -> Path:
        """Returns where pieces of a graph are written for a while.

        Beside the graph, from where ONNX Runtime maps its weights, unless it lies in a folder that
        is not ours to write to.
        """
        return graph.parent if self.work.parent in graph.parents else self.work
