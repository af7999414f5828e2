"""Measures the speeds of a run's graphs, in turns."""

from collections.abc import Mapping

from embconvert.console import Console
from embconvert.errors import EmbconvertError
from embconvert.fidelity.texts import verification_items
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.manifest import Manifest
from embconvert.models.forms import is_timed
from embconvert.models.kinds import KINDS
from embconvert.models.late_interaction import LateInteraction
from embconvert.models.pair_template import InputRules
from embconvert.models.shapes import CONVERSION_SHAPES, split_by_limit
from embconvert.models.values import OnnxArtifact
from embconvert.pipeline.results import Results
from embconvert.pipeline.run_context import RunContext
from embconvert.pipeline.source_process import tokenize_apart
from embconvert.pipeline.speed_tasks import time_in_turns
from embconvert.plan.jobs import BASE_BYTES
from embconvert.plan.steps import EXPORTED_FILE
from embconvert.processes.crash import WorkerCrashed
from embconvert.processes.resources import available_memory_bytes, cpus, session_threads
from embconvert.processes.worker import Work, finish
from embconvert.processes.workers import Workers
from embconvert.speed.records import SpeedsRecord
from embconvert.speed.sessions import Times, TimingSettings
from embconvert.speed.summary import groups_that_fit, speeds_record
from embconvert.speed.turns import TimeBudget

#: Enough to tell 5% from noise on a quiet machine, for a model of MiniLM's size.
_BUDGET = TimeBudget(seconds=0.5, limit=8.0, fewest=5, most=9)


def speeds_of_run(run: RunContext, tokens: TokenizedTexts | None) -> SpeedsRecord | None:
    """Returns the speeds of all graphs that a run publishes, measured anew if one of them is new.

    None if they could not be measured, which a warning says.
    """
    prepared, results, workers, console = run.prepared, run.results, run.workers, run.console
    known = _known_speeds(prepared.old, results)
    timed = [record for record in results.published if is_timed(record.forms)]
    graphs = {record.path: results.artifact(record) for record in timed}
    if known is not None or not graphs:
        return known
    base = EXPORTED_FILE if EXPORTED_FILE in graphs else None

    def measure() -> Work[SpeedsRecord | None]:
        found, loaded = tokens, run.reuse.loaded
        rules = loaded.input_rules if loaded else None
        if found is None:
            texts = verification_items(KINDS[prepared.resolved.kind].reading)
            found = yield from tokenize_apart(workers, run.staging.folder, texts.items, rules=rules)
        limit = limit_of(rules, loaded.max_seq_length) if loaded else None
        return (yield from measure_speeds(graphs, base, found, workers, console, limit=limit))

    many = f"{len(graphs)} files, in turns" if len(graphs) > 1 else "1 file"
    console.say(f"measuring the speed of {many}")
    try:
        speeds = finish(measure())
    except EmbconvertError as error:  # of the tokenizer, whose texts a verified run has read
        console.warn(f"speeds were not measured: {error.message}")
        return None
    if speeds is not None:
        for words in filter(None, (speeds.busy_words, speeds.unmeasurable_words)):
            console.say(words)
    return speeds


def limit_of(rules: InputRules | None, usual: int | None) -> int | None:
    """Returns the tokens after which a model truncates a text or document; None if it does not."""
    return rules.limit(usual, query=False) if isinstance(rules, LateInteraction) else usual


def _known_speeds(old: Manifest | None, results: Results) -> SpeedsRecord | None:
    """Returns the speeds of an earlier run if it published the same graphs."""
    if old is None or old.speeds is None:
        return None
    before = {(record.path, record.digest) for record in old.artifacts}
    now = {(record.path, record.digest) for record in results.published}
    return old.speeds if now == before else None


def measure_speeds(
    graphs: Mapping[str, OnnxArtifact],
    base: str | None,
    texts: TokenizedTexts,
    workers: Workers,
    console: Console,
    *,
    limit: int | None = None,
) -> Work[SpeedsRecord | None]:
    """Measures the speeds of graphs, in turns; a failure is only a warning.

    Args:
        graphs: By path in the folder.
        base: Path of the graph to compare with; None if there is none.
        texts: Of which batches are made.
        limit: Tokens after which the model truncates a text; None if it does not.

    Returns:
        None if nothing could be measured.
    """
    sizes = {path: graph.total_size_bytes for path, graph in graphs.items()}
    groups, left_out = groups_that_fit(sizes, base, available_memory_bytes() - BASE_BYTES)
    if left_out:
        console.warn(f"the speed of {', '.join(left_out)} is not measured: too little memory")
    shapes, _ = split_by_limit(CONVERSION_SHAPES, limit)
    if not shapes:
        return None
    settings = TimingSettings(
        shapes=shapes, budget=_BUDGET, threads=session_threads(), maps_weights=True
    )
    found: list[tuple[list[str], Times]] = []
    try:
        for group in groups:
            with workers.take(sum(sizes[path] for path in group)) as worker:
                paths = [graphs[path].path for path in group]
                times: Times | str = yield worker.begin(time_in_turns, paths, texts, settings)
            if isinstance(times, str):
                raise ValueError(times)
            found.append((group, times))
            for shape, reason in times.left_out.items():
                console.say(f"the speed at {shape.tokens} tokens is not measured: {reason}")
    except (ValueError, WorkerCrashed, EmbconvertError) as error:
        console.warn(f"speeds were not measured: {error}")
        return None
    return speeds_record(found, base, settings.threads or cpus()) if found else None
