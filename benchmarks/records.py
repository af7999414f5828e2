"""What `make bench` collects, and what it makes of it."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from measure import Figures, total

MEASURES: dict[str, Callable[[Figures], float | None]] = {
    "wall_s": lambda f: f.wall_s,
    "cpu_s": lambda f: f.cpu_s,
    "process_bytes": lambda f: f.process_bytes,
    # Only the warm-up samples it.
    "tree_bytes": lambda f: f.tree_bytes,
}


@dataclass(frozen=True)
class Run:
    """One run of a pipeline.

    Attributes:
        model: A key of pipelines.MODELS.
        round: 0 is the warm-up.
        pipeline: A key of pipelines.PIPELINES.
        steps: The cost of each of its processes, by name.
    """

    model: str
    round: int
    pipeline: str
    steps: dict[str, Figures]

    @property
    def total(self) -> Figures:
        """The cost of the whole pipeline."""
        return total(list(self.steps.values()))


@dataclass(frozen=True)
class Record:
    """All that the benchmark found.

    Attributes:
        machine: What it ran on.
        versions: Of the packages on both sides.
        runs: In their order.
        jobs: What `--debug` prints of the jobs of a verified run, by model.
    """

    machine: dict[str, str | float]
    versions: dict[str, dict[str, str]]
    runs: list[Run]
    jobs: dict[str, str]

    def rounds(self, model: str) -> int:
        """Returns how many rounds of a model count."""
        return max(run.round for run in self.runs if run.model == model)

    def values(self, model: str, pipeline: str, measure: str) -> list[float]:
        """Returns a measure of a pipeline: by round, memory of all processes of the warm-up."""
        is_sampled = measure == "tree_bytes"
        found = (
            MEASURES[measure](run.total)
            for run in self.runs
            if (run.model, run.pipeline) == (model, pipeline) and (run.round == 0) == is_sampled
        )
        return [value for value in found if value is not None]

    def ratios(self, model: str, pipeline: str, over: str, measure: str) -> list[float]:
        """Returns a pipeline's measure divided by another's, for each round."""
        both = (self.values(model, key, measure) for key in (pipeline, over))
        return [a / b for a, b in zip(*both, strict=True)]

    def others_share(self) -> float:
        """Returns the part of the machine that other programs used during the rounds."""
        timed = [run.total for run in self.runs if run.round]
        wall = sum(figures.wall_s for figures in timed)
        return sum(f.others_cpu_s for f in timed) / (wall * float(self.machine["cores"]))


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Returns the median and the range."""
    return statistics.median(values), min(values), max(values)
