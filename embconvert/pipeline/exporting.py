"""The export, and what need not wait for it.

The reference needs the model alone, and the optimizer the graph alone, not the file with its
weights. So where there is room, a copy of the source's process exports while the source embeds, and
as soon as there is a graph it is optimized.
"""

from embconvert.console import Console
from embconvert.export.exporter import Exporter
from embconvert.folder.staging import Staging
from embconvert.models.values import OnnxArtifact
from embconvert.pipeline.ahead import Ahead
from embconvert.pipeline.source_process import Source
from embconvert.pipeline.tasks import trace_source, write_traced
from embconvert.pipeline.verifier import Verifier
from embconvert.plan.steps import Stage, Step
from embconvert.processes.metering import Meter
from embconvert.processes.workers import WorkerCrashed
from embconvert.request.records import Request


class Exports:
    """Exports the source into a staging folder."""

    def __init__(
        self,
        request: Request,
        *,
        staging: Staging,
        source: Source,
        verifier: Verifier,
        ahead: Ahead,
        console: Console,
    ) -> None:
        self._request = request
        self._staging = staging
        self._source = source
        self._verifier = verifier
        self._ahead = ahead
        self._console = console

    def make(self, step: Step, exporter: Exporter, then: Step | None) -> tuple[OnnxArtifact, Meter]:
        """Exports the source.

        Args:
            step: The export.
            exporter: Which of torch's exporters traces.
            then: What is to be made after it; it may be begun.

        Raises:
            EmbconvertError: As export.export.
        """
        path = self._staging.path(step.file)
        path.unlink(missing_ok=True)
        named = {
            "opset": self._request.opset,
            "exporter": exporter,
            "output": self._request.output,
        }
        apart = {"keep_weights_apart": not step.is_published}
        has_reference = not self._request.skip_validation
        if has_reference and self._ahead.has_room and self._source.may_be_copied:
            with self._source.copy() as copy:
                try:
                    copy.begin(trace_source, self._staging.work / "traced.onnx", **named)
                    self._verifier.begin()
                    traced, tracing = copy.result()
                    copy.begin(write_traced, path, **apart)
                    if then is not None and then.stage is Stage.OPTIMIZE:
                        self._ahead.start_early(then, traced)
                    artifact, writing = copy.result()
                    return artifact, tracing.followed_by(writing)
                except WorkerCrashed:
                    self._console.warn(
                        "the process that exported ended, most likely for lack of memory; once "
                        "more, with nothing beside it"
                    )
                    self._ahead.has_room = False
                    self._ahead.give_up(step.file)
        return self._source.export(path, **named, **apart)
