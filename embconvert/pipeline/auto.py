"""`--quantize auto`: candidates are made until one keeps the budget."""

from embconvert.console import Console
from embconvert.errors import FidelityError, QuantizeError, UsageError
from embconvert.folder.staging import Staging
from embconvert.manifest import ArtifactRecord
from embconvert.pipeline.ledger import Ledger
from embconvert.pipeline.making import Maker, refuse_too_new
from embconvert.plan.plan import Plan
from embconvert.plan.search import (
    Budget,
    Candidate,
    frontier_header,
    frontier_rows,
    name_of,
    search_record,
)
from embconvert.plan.steps import EXPORTED_FILE, Step
from embconvert.request.records import Request


def choose(
    plan: Plan,
    request: Request,
    maker: Maker,
    ledger: Ledger,
    staging: Staging,
    console: Console,
) -> ArtifactRecord:
    """Makes the smallest of a plan's candidates that keeps the budget.

    Raises:
        FidelityError: None keeps it.
    """
    search = plan.search
    assert search is not None
    for step in search.candidates:
        found = ledger.find(step)
        if found is not None and found.fidelity is not None:
            console.say(f"auto: {step.file} is there already")
            return found
    float32 = ledger.source_of(search.candidates[0]).total_size_bytes
    tried = [Candidate(name=n, outcome=why) for n, why in search.ruled_out.items()]
    best: ArtifactRecord | None = None
    for step in search.candidates:
        name = name_of(step.precision, step.options.recipes)
        if best is not None:
            tried.append(Candidate(name=name, outcome="not tried: it would be no smaller"))
            continue
        if search.budget.cannot_fit(step.file_bytes(plan.parameters), float32):
            tried.append(Candidate(name=name, outcome="not tried: it would be too large"))
            continue
        console.say(f"auto: trying {name}")
        candidate, record = _try(step, name, search.budget, float32, request, maker, ledger)
        tried.append(candidate)
        if record is not None and candidate.outcome is None:
            best = record
        else:
            staging.discard(step.file)
    console.table(
        f"auto: {search.budget}",
        frontier_header(search.budget.measure),
        frontier_rows(tried, float32),
    )
    if best is None:
        raise FidelityError(
            f"nothing that was tried keeps the budget: {search.budget}; nothing is published",
            "the table above shows what there is; ask for less with --min_cosine, --max_size "
            "or --min_speedup",
        )
    ledger.search = search_record(search.budget, tried)
    return best


def _try(
    step: Step,
    name: str,
    budget: Budget,
    float32_bytes: int,
    request: Request,
    maker: Maker,
    ledger: Ledger,
) -> tuple[Candidate, ArtifactRecord | None]:
    """Makes and measures a candidate; what fails is an outcome, too."""
    try:
        record = maker.attempt(step, str(step.precision))
        refuse_too_new(record, request)
    except (QuantizeError, FidelityError, UsageError) as failure:
        return Candidate(name=name, outcome=failure.message), None
    assert record.fidelity is not None
    base = ledger.records.get(EXPORTED_FILE)
    speedup = None
    if base is not None and base.fidelity is not None:
        speedup = record.fidelity.texts_per_second / base.fidelity.texts_per_second
    candidate = Candidate(
        name=name,
        size_bytes=record.total_size_bytes,
        fidelity=record.fidelity,
        speedup=speedup,
        outcome=budget.violation(record.total_size_bytes, record.fidelity, speedup, float32_bytes),
    )
    return candidate, record
