"""`embconvert bench`: measures the speeds of a published folder's graphs on this machine."""

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from embconvert.console import Console
from embconvert.errors import FidelityError, UsageError
from embconvert.fidelity.texts import verification_items
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.folder.disk import output_errors
from embconvert.graph.runtime import CPU_PROVIDER
from embconvert.manifest import ArtifactRecord, Manifest
from embconvert.manifest.building import processor
from embconvert.models.forms import is_timed
from embconvert.models.kinds import KINDS
from embconvert.models.shapes import Shape, split_by_limit
from embconvert.pipeline.checked_folder import (
    at_work,
    check_graphs,
    check_weights,
    checked_manifest,
    copy_files,
)
from embconvert.pipeline.route_folders import routes_to_check
from embconvert.pipeline.source_process import tokenize_apart
from embconvert.pipeline.speed_tasks import measure_alone, runtime_of, time_in_turns
from embconvert.pipeline.speeds import limit_of
from embconvert.plan.jobs import BASE_BYTES
from embconvert.processes.crash import WorkerCrashed
from embconvert.processes.metering import Meter
from embconvert.processes.resources import available_memory_bytes, cpus
from embconvert.processes.worker import finish
from embconvert.processes.workers import Workers
from embconvert.regular_files import replace_file
from embconvert.reporting.bench import (
    bench_header,
    bench_page,
    bench_rows,
    best_words,
    graphs_header,
    graphs_rows,
)
from embconvert.reporting.compare import refuse_other_than_file
from embconvert.request.records import BenchRequest, Finished
from embconvert.speed.bench import Measured, best_files
from embconvert.speed.bench_records import (
    BenchedGraph,
    Benchmark,
    LatencyRecord,
    LeftOutRecord,
    as_text,
    in_threads,
)
from embconvert.speed.sessions import Times, TimingSettings
from embconvert.speed.summary import groups_that_fit
from embconvert.speed.turns import TimeBudget

# Short batches need no more rounds, which leaves time for the long ones.
_FEWEST_ROUNDS, _MOST_ROUNDS = 5, 60
# The fewest rounds of a long batch may take this much longer than its share of the time.
_PATIENCE = 1.3
#: What runs a graph elsewhere, and what first compiles it for minutes.
_NOT_USUAL = ("AzureExecutionProvider", "TensorrtExecutionProvider")
_SUFFIX = "ExecutionProvider"
_ELSEWHERE = "choose another --output"


@dataclass(frozen=True, kw_only=True)
class _Bench:
    """What is measured, in a folder whose files were checked."""

    request: BenchRequest
    manifest: Manifest
    texts: TokenizedTexts
    shapes: tuple[Shape, ...]
    workers: Workers
    console: Console
    left_out: list[LeftOutRecord] = field(default_factory=list)

    def leave_out(self, what: str, reason: str) -> None:
        record = LeftOutRecord(what=what, reason=reason)
        if record not in self.left_out:
            self.left_out.append(record)
            self.console.say(f"left out: {what}: {reason}")


def bench(request: BenchRequest) -> Finished:
    """Measures a folder for the command line; of an asymmetric model, the folder of each route.

    Returns:
        Text for stdout: the page that was written; with `json` all figures.

    Raises:
        UsageError: embconvert did not publish the folder, or nothing can be measured.
        SourceError: A file is missing or changed.
        FidelityError: A graph does not run.
        OutputError: The page cannot be written.
    """
    console = Console(quiet=request.quiet, debug=request.debug)
    routes = routes_to_check(request.folder, console) or ("",)
    share = request.seconds / len(routes)
    with output_errors(request.output, _ELSEWHERE):
        refuse_other_than_file(request.output)  # before minutes of measuring
    found = {
        name: _bench(replace(request, folder=request.folder / name, seconds=share), console)
        for name in routes
    }
    page = bench_page(list(found.values())).encode("utf-8", "replace")
    with output_errors(request.output, _ELSEWHERE):
        refuse_other_than_file(request.output)
        request.output.parent.mkdir(parents=True, exist_ok=True)
        replace_file(request.output, page)
    if not request.json:
        return Finished(text=str(request.output))
    if "" in found:
        return Finished(text=as_text(found[""]))
    parts = {name: json.loads(as_text(one)) for name, one in found.items()}
    return Finished(text=json.dumps({"routes": parts}, indent=2))


def _bench(request: BenchRequest, console: Console) -> Benchmark:
    manifest = checked_manifest(request.folder, console)
    with at_work(console, request.max_graph_seconds) as (workers, scratch):
        copy_files(request.folder, manifest, scratch)
        check_graphs(request.folder, manifest.artifacts, workers)
        for record in manifest.artifacts:
            with workers.take() as worker:
                check_weights(request.folder, record, worker)
        fixed = [record.path for record in manifest.artifacts if not is_timed(record.forms)]
        timed = tuple(record for record in manifest.artifacts if is_timed(record.forms))
        manifest = replace(manifest, artifacts=timed)
        items = verification_items(KINDS[manifest.kind].reading).items
        rules = manifest.source.model.input_rules
        texts = finish(tokenize_apart(workers, scratch, items, rules=rules))
        opened = _Bench(
            request=request, manifest=manifest, texts=texts, shapes=request.shapes,
            workers=workers, console=console,
        )  # fmt: skip
        for path in fixed:
            opened.leave_out(path, "it runs batches of one shape only, or in another program")
        return _measured(opened)


def _measured(bench: _Bench) -> Benchmark:
    manifest, console = bench.manifest, bench.console
    limit = limit_of(manifest.source.model.input_rules, manifest.source.max_seq_length)
    shapes, too_long = split_by_limit(bench.shapes, limit)
    bench = replace(bench, shapes=shapes)
    for shape in too_long:
        bench.leave_out(str(shape), f"the model reads at most {limit} tokens")
    if not shapes:
        raise UsageError(
            f"no shape is left to measure: the model reads at most {limit} tokens",
            f"give shorter texts, such as --shapes 1x{min(16, limit or 16)}",
        )
    with bench.workers.take() as worker:
        version, available = worker.call(runtime_of)
    settings = [(p, t) for p in _providers(bench, available) for t in _threads(bench)]
    share = bench.request.seconds / len(settings)
    measured = [one for setting in settings for one in _in_turns(bench, *setting, share)]
    if not measured:
        left_out = "; ".join(f"{one.what}: {one.reason}" for one in bench.left_out)
        raise FidelityError(
            f"no graph could be timed ({left_out})",
            "allow more time with --seconds, or give other --providers or smaller --shapes",
        )
    timed = sorted({shape for one in measured for shape in one.times.seconds})
    graphs = tuple(_alone(bench, record, timed, measured) for record in manifest.artifacts)
    sizes = {record.path: record.total_size_bytes for record in manifest.artifacts}
    waited = [one.times.waited for one in measured if one.times.waited is not None]
    source = manifest.source
    found = Benchmark(
        model_id=source.model_id,
        revision=source.revision,
        route=source.route.name if source.route else None,
        kind=manifest.kind,
        processor=processor(),
        cpus=cpus(),
        onnxruntime=version,
        waited=max(waited, default=None),
        graphs=graphs,
        left_out=tuple(bench.left_out),
        best=tuple(best_files(measured, sizes)),
    )
    console.table(f"{bench.request.folder}: files", graphs_header(), graphs_rows(found))
    console.table(
        f"{bench.request.folder}: milliseconds, in turns", bench_header(found), bench_rows(found)
    )
    for best in found.best:
        console.say(best_words(best))
    if found.busy_words is not None:
        console.warn(found.busy_words)
    return found


def _threads(bench: _Bench) -> list[int]:
    """Returns the numbers of threads to measure with."""
    found = []
    for asked in bench.request.threads:
        count = cpus() if asked is None else asked
        if count > cpus():
            bench.leave_out(in_threads(count), f"this machine has {cpus()} CPUs for it")
        elif count not in found:
            found.append(count)
    if not found:
        given = ",".join(map(str, bench.request.threads))
        raise UsageError(
            f"there are {cpus()} CPUs, fewer than --threads {given}",
            f"give --threads all, or at most {cpus()}",
        )
    return found


def _providers(bench: _Bench, available: Sequence[str]) -> list[str]:
    """Returns the providers to measure with; raises UsageError if one is absent."""
    names = {name.removesuffix(_SUFFIX).lower(): name for name in available}
    asked = bench.request.providers
    if asked is None:
        for name in available:
            if name == "TensorrtExecutionProvider":
                bench.leave_out(name, "it compiles for minutes; --providers tensorrt measures it")
        return [name for name in available if name not in _NOT_USUAL]
    for word in asked:
        if word not in names:
            raise UsageError(
                f"ONNX Runtime has no provider {word} here, but {', '.join(names)}",
                "install its package for that hardware, or omit --providers",
            )
    return [names[word] for word in dict.fromkeys(asked)]


def _in_turns(bench: _Bench, provider: str, threads: int, seconds: float) -> Iterator[Measured]:
    """Yields the times of the graphs that fit into memory together."""
    folder, records = bench.request.folder, bench.manifest.artifacts
    sizes = {record.path: record.total_size_bytes for record in records}
    base = next((record.path for record in records if record.made_from is None), None)
    groups, left_out = groups_that_fit(sizes, base, available_memory_bytes() - BASE_BYTES)
    for path in left_out:
        bench.leave_out(path, "there is too little memory to load it beside float32")
    words = f"{provider.removesuffix(_SUFFIX)}, {in_threads(threads)}"
    for group in groups:
        share = seconds / len(groups)
        budget = TimeBudget(
            seconds=share, limit=_PATIENCE * share, fewest=_FEWEST_ROUNDS, most=_MOST_ROUNDS
        )
        settings = TimingSettings(
            shapes=bench.shapes, budget=budget, threads=threads, provider=provider
        )
        bench.console.say(f"timing {len(group)} files in turns: {words}")
        with (
            bench.console.progress(f"timing: {words}", len(bench.shapes)) as advance,
            bench.workers.take(sum(sizes[path] for path in group)) as worker,
        ):
            assert worker.limit is not None
            try:
                times: Times | str = worker.call(
                    time_in_turns,
                    [folder / path for path in group],
                    bench.texts,
                    settings,
                    advance=advance,
                    within=replace(worker.limit, seconds=worker.limit.seconds + 2 * share),
                )
            except WorkerCrashed as crash:
                times = str(crash)
        if isinstance(times, str):
            if provider == CPU_PROVIDER:
                raise FidelityError(
                    f"the graphs do not run: {times}",
                    f"run: embconvert verify {shlex.quote(str(bench.request.folder))}",
                )
            bench.leave_out(words, times)
            return
        for shape, reason in times.left_out.items():
            more = "; --seconds allows more time" if "too long" in reason else ""
            bench.leave_out(f"{shape}: {words}", reason + more)
        yield Measured(
            provider=provider, threads=threads, paths=tuple(group), base=base, times=times
        )


def _alone(
    bench: _Bench, record: ArtifactRecord, shapes: Sequence[Shape], measured: Sequence[Measured]
) -> BenchedGraph:
    """Measures the loading and the memory of a graph in a process of its own."""
    found: tuple[float, Meter] | str
    threads = max(one.threads for one in measured)
    with (
        bench.console.progress(f"loading {record.path}"),
        bench.workers.take(record.total_size_bytes) as worker,
    ):
        try:
            found = worker.call(
                measure_alone, bench.request.folder / record.path, bench.texts, shapes, threads
            )
        except WorkerCrashed as crash:
            found = str(crash)
    if isinstance(found, str):
        bench.leave_out(f"memory of {record.path}", found)
    # Where memory is short, float32 is in several groups: the first counts.
    latencies: dict[tuple[str, int, Shape], LatencyRecord] = {}
    for one in measured:
        for latency in one.latencies(record.path):
            latencies.setdefault((one.provider, one.threads, latency.shape), latency)
    loading_s, meter = (None, None) if isinstance(found, str) else found
    return BenchedGraph(
        path=record.path,
        precision=record.precision,
        size_bytes=record.total_size_bytes,
        load_s=loading_s,
        peak_memory_bytes=meter.peak_memory_bytes if meter else None,
        latencies=tuple(latencies.values()),
    )
