"""`--quantize auto`: makes candidates in ascending order of size until one meets the budget."""

from typing import Protocol

from embconvert.errors import FidelityError, QuantizeError, UsageError
from embconvert.manifest import ArtifactRecord
from embconvert.pipeline.checks import refuse_too_new
from embconvert.pipeline.run_context import RunContext
from embconvert.plan.budget import DataLoss
from embconvert.plan.frontier import Candidate, frontier_header, frontier_rows, search_record
from embconvert.plan.jobs import Action, Job
from embconvert.plan.search import Search, name_of
from embconvert.plan.steps import Step
from embconvert.processes.worker import Work
from embconvert.speed.records import Speedup, Verdict

#: After these errors the next candidate is tried.
_ERRORS_OF_A_CANDIDATE = (QuantizeError, FidelityError, UsageError)


class GraphMaker(Protocol):
    """Makes graphs and verifies them; see performer.Performer."""

    def make(self, step: Step) -> Work[None]:
        pass

    def verified(self, step: Step) -> Work[ArtifactRecord]:
        pass

    def speedup(self, record: ArtifactRecord) -> Work[Speedup | None]:
        pass

    def loss(self, record: ArtifactRecord) -> Work[DataLoss | None]:
        pass


class Trials:
    """Tries the candidates of a search."""

    def __init__(self, run: RunContext, maker: GraphMaker) -> None:
        self._plan = run.prepared.plan
        self._request = run.prepared.request
        self._maker = maker
        self._staging = run.staging
        self._results = run.results
        self._console = run.console
        self._tried: dict[str, Candidate] = {}
        self._best: ArtifactRecord | None = None

    @property
    def _search(self) -> Search:
        assert self._plan.search is not None
        return self._plan.search

    @property
    def _float32_bytes(self) -> int:
        return self._results.source_of(self._search.candidates[0]).total_size_bytes

    def perform(self, job: Job) -> Work[None]:
        """Makes or verifies a candidate, unless its outcome is already known."""
        assert job.step is not None
        step = job.step
        name = name_of(step.precision, step.options.recipes)
        if name in self._tried:
            return
        outcome = self._needless(step)
        try:
            if outcome is not None:
                self._tried[name] = Candidate(name=name, outcome=outcome)
            elif job.action is Action.QUANTIZE:
                self._console.say(f"auto: trying {name}")
                yield from self._maker.make(step)
            else:
                record = yield from self._maker.verified(step)
                refuse_too_new(record, self._request)
                speedup = None
                if self._search.budget.min_speedup is not None:
                    speedup = yield from self._maker.speedup(record)
                yield from self._judge(name, record, speedup)
        except _ERRORS_OF_A_CANDIDATE as failure:
            self._tried[name] = Candidate(name=name, outcome=failure.message)
        if name in self._tried and self._tried[name].outcome is not None and outcome is None:
            self._staging.discard(step.file)

    def _needless(self, step: Step) -> str | None:
        """Returns why a candidate need not be tried; None if it must be."""
        if self._best is not None:
            return "not tried: it would not be smaller"
        expected_bytes = step.file_bytes(self._plan.parameters)
        if self._search.budget.cannot_fit(expected_bytes, self._float32_bytes):
            return "not tried: it would be too large"
        return None

    def _judge(self, name: str, record: ArtifactRecord, speedup: Speedup | None) -> Work[None]:
        assert record.fidelity is not None
        size = record.total_size_bytes
        outcome = self._search.budget.violation(
            size, record.fidelity, speedup, self._float32_bytes, record.precision
        )
        loss = None
        if outcome is None:  # evaluating takes longest
            loss = yield from self._maker.loss(record)
            outcome = None if loss is None else self._search.budget.excess(loss)
        self._tried[name] = Candidate(
            name=name,
            size_bytes=size,
            fidelity=record.fidelity,
            speedup=speedup,
            outcome=outcome,
            loss=loss,
        )
        if outcome is None:
            self._best = record

    @property
    def _is_noisy(self) -> bool:
        """Whether noise hides a speed on which the budget depends."""
        limit = self._search.budget.min_speedup
        return limit is not None and any(
            tried.speedup is not None and tried.speedup.against(limit) is Verdict.UNKNOWN
            for tried in self._tried.values()
        )

    def finish(self) -> None:
        """Publishes the chosen candidate; raises FidelityError if none meets the budget."""
        if not self._tried:
            return
        budget = self._search.budget
        ruled_out = [Candidate(name=n, outcome=why) for n, why in self._search.ruled_out.items()]
        tried = [*ruled_out, *self._tried.values()]
        self._console.table(
            f"auto: {budget}",
            frontier_header(budget.measure),
            frontier_rows(tried, self._float32_bytes),
        )
        if self._best is None:
            raise FidelityError(
                f"no candidate meets the budget ({budget}); nothing is published",
                "relax --min_cosine, --min_neighbours, --max_size, --min_speedup or --max_loss; "
                "the table above shows what is possible"
                + ("; or run it again when nothing else runs" if self._is_noisy else ""),
            )
        self._results.search = search_record(budget, tried)
        self._results.records[self._best.path] = self._best
