"""The settings of a quantization."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from embconvert.models.recipes import QuantizeOptions
from embconvert.models.values import KeptNode

Feed = dict[str, npt.NDArray[np.int64]]


class CalibrationInputs(Protocol):
    """Yields the calibration texts as inputs of a graph."""

    def __call__(self, inputs: list[str], tokens: int | None = None) -> Iterator[Feed]:
        """Yields about so many tokens, or all, as inputs, each (texts, seq) int64, by name."""


@dataclass(frozen=True, kw_only=True)
class QuantizeSettings:
    """The settings of a quantization.

    Attributes:
        warn: Gets messages for the user.
        keep: Records a node that is not changed.
        work: A folder for temporary files on the output's file system.
        wide: Names of the weights that half precision cannot hold.
        float32_share: Of the products' weights, how many the mixed recipe of eight bits may leave
            as they are.
        replaced: Operators that are written in standard ones in the end.
    """

    options: QuantizeOptions
    calibration: CalibrationInputs
    work: Path
    warn: Callable[[str], None] = lambda _: None
    keep: Callable[[KeptNode], None] = lambda _: None
    wide: frozenset[str] = frozenset()
    float32_share: float = 1 / 16
    replaced: tuple[str, ...] = ()

    def mapping_folder(self, graph: Path) -> Path:
        """Returns the folder for temporary pieces of a graph.

        This is the graph's folder, because ONNX Runtime maps the weights there, unless we may not
        write to it.
        """
        return graph.parent if self.work.parent in graph.parents else self.work
