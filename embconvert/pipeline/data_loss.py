"""How much a candidate of `--quantize auto` loses on the user's data."""

from functools import partial
from pathlib import Path

from embconvert.console import Console
from embconvert.evaluation.evaluating import Evaluator, Sides
from embconvert.evaluation.figures import Scored, figures_of
from embconvert.evaluation.intervals import loss_of
from embconvert.evaluation.outputs import CachedOutputs
from embconvert.evaluation.reading import read_data
from embconvert.evaluation.running import GraphRunner
from embconvert.evaluation.scoring import scoring_for
from embconvert.manifest.building import LoadedSource
from embconvert.models.choices import Output
from embconvert.models.kinds import KINDS, Kind
from embconvert.models.values import OnnxArtifact
from embconvert.pipeline.computing import GraphRows
from embconvert.pipeline.evaluated import sides_from, similarity_in
from embconvert.plan.budget import DataLoss
from embconvert.processes.worker import Work
from embconvert.processes.workers import Workers


class LossOnData:
    """Evaluates graphs of a staging folder on some data.

    Args:
        scratch: A folder for its texts.
        output: What its graphs give.

    Raises:
        UsageError: The data cannot be read, or a model of the kind cannot be evaluated on it.
    """

    def __init__(
        self,
        path: Path,
        scratch: Path,
        folder: Path,
        kind: Kind,
        output: Output,
        workers: Workers,
        console: Console,
    ) -> None:
        scratch.mkdir()
        self._data = read_data(path, scratch)
        self._folder = folder
        self._kind = kind
        self._output = output
        self._workers = workers
        self._console = console
        self._baseline: Scored | None = None
        Evaluator(self._data, scoring_for(kind), Sides(reading=KINDS[kind].reading), "")
        console.say(self._data.words)

    def of(
        self, exported: OnnxArtifact, candidate: OnnxArtifact, name: str, source: LoadedSource
    ) -> Work[DataLoss]:
        """Returns the loss of a candidate's main figure against the exported graph."""
        if self._baseline is None:
            self._baseline = yield from self._scored(exported, "the float32 graph", source)
        outcome = yield from self._scored(candidate, name, source)
        ours = figures_of(self._data, outcome, self._baseline)[0]
        theirs = figures_of(self._data, self._baseline, self._baseline)[0]
        loss = loss_of(ours, theirs)
        return DataLoss(figure=ours.name, points=loss.points, verdict=loss.verdict)

    def _scored(self, artifact: OnnxArtifact, name: str, source: LoadedSource) -> Work[Scored]:
        sides = sides_from(KINDS[self._kind].reading, source.prompts, source.prompts, self._data)
        how = similarity_in(self._folder, self._kind)
        evaluator = Evaluator(self._data, scoring_for(self._kind), sides, how or "")
        make = partial(
            GraphRunner,
            artifact,
            self._folder,
            kind=self._kind,
            rules=source.input_rules,
            output_rules=source.model.output_rules(self._output),
        )
        rows = GraphRows(make, artifact.total_size_bytes, name, self._workers)
        outputs = CachedOutputs(rows, None)
        try:
            with self._console.progress(f"evaluating {name}", evaluator.size) as advance:
                return (yield from evaluator.run(outputs, outputs, advance))
        finally:
            rows.end()
