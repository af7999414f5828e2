"""What the benchmark collects, and what it makes of it."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from measure import Figures, total
from pipelines import PEER, PIPELINES

MEASURES: dict[str, Callable[[Figures], float]] = {
    "wall_s": lambda f: f.wall_s,
    "cpu_s": lambda f: f.cpu_s,
    "process_bytes": lambda f: f.process_bytes,
}


@dataclass(frozen=True)
class Run:
    """One run of a pipeline.

    Attributes:
        round: 0 is the warm-up.
        pipeline: Its key.
        steps: The cost of each of its processes, by name.
    """

    round: int
    pipeline: str
    steps: dict[str, Figures]

    @property
    def total(self) -> Figures:
        """The cost of the whole pipeline."""
        return total(list(self.steps.values()))


@dataclass(frozen=True)
class File:
    """An ONNX file that a pipeline wrote.

    Attributes:
        pipelines: The keys of those that wrote just these bytes.
        name: Its name.
        bytes: Its size.
        cosines: To sentence-transformers, one for each text.
    """

    pipelines: str
    name: str
    bytes: int
    cosines: list[float]


@dataclass(frozen=True)
class Record:
    """All that the benchmark found.

    Attributes:
        machine: What it ran on.
        versions: Of the packages on both sides.
        runs: In their order.
        folder_bytes: Size of what each pipeline wrote, by key.
        files: The ONNX files.
    """

    machine: dict[str, str | float]
    versions: dict[str, dict[str, str]]
    runs: list[Run]
    folder_bytes: dict[str, int]
    files: list[File]

    @property
    def timed(self) -> list[Run]:
        """The runs that count."""
        return [run for run in self.runs if run.round]

    @property
    def rounds(self) -> int:
        """How many rounds count."""
        return max(run.round for run in self.runs)

    def costs(self, pipeline: str) -> list[Figures]:
        """Returns what a pipeline cost in each round that counts."""
        return [run.total for run in self.timed if run.pipeline == pipeline]

    def tree_bytes(self, pipeline: str) -> int:
        """Returns the memory of all processes at once, which only the warm-up sampled."""
        first = next(run for run in self.runs if run.pipeline == pipeline and not run.round)
        return first.total.tree_bytes or 0

    def others_share(self) -> float:
        """Returns the part of the machine that other programs used during the rounds."""
        wall = sum(run.total.wall_s for run in self.timed)
        others = sum(run.total.others_cpu_s for run in self.timed)
        return others / (wall * float(self.machine["cores"]))

    def summary(self) -> dict[str, Any]:
        """Returns medians and ranges of each pipeline, and the ratios of ours to the peer's."""
        keys = [pipeline.key for pipeline in PIPELINES]
        return {
            "medians": {
                key: {n: spread([m(f) for f in self.costs(key)]) for n, m in MEASURES.items()}
                for key in keys
            },
            "tree_bytes": {key: self.tree_bytes(key) for key in keys},
            "ratios": {
                f"{key}/{PEER}": {n: spread(self.ratios(key, m)) for n, m in MEASURES.items()}
                for key in keys
                if key != PEER
            },
            "cosines": [
                {
                    "pipelines": file.pipelines,
                    "name": file.name,
                    "mean": statistics.fmean(file.cosines),
                    "min": min(file.cosines),
                }
                for file in self.files
            ],
            "others_share": self.others_share(),
        }

    def ratios(self, pipeline: str, measure: Callable[[Figures], float]) -> list[float]:
        """Returns a pipeline's figure over the peer's, for each round."""
        pairs = zip(self.costs(pipeline), self.costs(PEER), strict=True)
        return [measure(ours) / measure(theirs) for ours, theirs in pairs]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Returns the median and the range."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}
