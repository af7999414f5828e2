"""What `embconvert bench` measures: the graphs of a folder in turns, and each one alone."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from embconvert.console import Console
from embconvert.errors import FidelityError, UsageError
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.graph.runtime import CPU_PROVIDER
from embconvert.manifest import ArtifactRecord, Manifest
from embconvert.models.shapes import Shape
from embconvert.pipeline.speed_tasks import measure_alone, time_in_turns
from embconvert.plan.jobs import BASE_BYTES
from embconvert.processes.crash import WorkerCrashed
from embconvert.processes.metering import Meter
from embconvert.processes.resources import available_memory_bytes, cpus
from embconvert.processes.workers import Workers
from embconvert.request.records import BenchRequest
from embconvert.speed.bench import Measured
from embconvert.speed.bench_records import (
    BenchedGraph,
    LatencyRecord,
    LeftOutRecord,
    in_threads,
    name_of_provider,
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


@dataclass(frozen=True, kw_only=True)
class BenchedFolder:
    """A folder whose files were checked, and how it is measured."""

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


def threads_of(bench: BenchedFolder) -> list[int]:
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


def providers_of(bench: BenchedFolder, available: Sequence[str]) -> list[str]:
    """Returns the providers to measure with; raises UsageError if one is absent."""
    names = {name_of_provider(name).lower(): name for name in available}
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


def time_graphs(
    bench: BenchedFolder, provider: str, threads: int, seconds: float
) -> Iterator[Measured]:
    """Yields the times of the graphs that fit into memory together."""
    folder, exported = bench.request.folder, bench.manifest.exported
    sizes = {record.path: record.total_size_bytes for record in bench.manifest.artifacts}
    base = exported.path if exported is not None else None
    groups, left_out = groups_that_fit(sizes, base, available_memory_bytes() - BASE_BYTES)
    for path in left_out:
        bench.leave_out(path, "there is too little memory to load it beside float32")
    words = f"{name_of_provider(provider)}, {in_threads(threads)}"
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


def measure_graph(
    bench: BenchedFolder,
    record: ArtifactRecord,
    shapes: Sequence[Shape],
    measured: Sequence[Measured],
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
