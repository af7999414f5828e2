"""`embconvert bench`: measures the speeds of a published folder's graphs on this machine."""

import json
from dataclasses import replace

from embconvert.console import Console
from embconvert.errors import FidelityError, UsageError
from embconvert.fidelity.texts import verification_items
from embconvert.folder.disk import output_errors, refuse_unwritable
from embconvert.manifest.building import processor
from embconvert.models.forms import is_timed
from embconvert.models.kinds import KINDS
from embconvert.models.shapes import split_by_limit
from embconvert.pipeline.bench_runs import (
    BenchedFolder,
    measure_graph,
    providers_of,
    threads_of,
    time_graphs,
)
from embconvert.pipeline.checked_folder import (
    at_work,
    check_graphs,
    check_weights,
    checked_manifest,
    copy_files,
)
from embconvert.pipeline.route_folders import routes_to_check
from embconvert.pipeline.source_process import tokenize_apart
from embconvert.pipeline.speed_tasks import runtime_of
from embconvert.pipeline.speeds import limit_of
from embconvert.processes.resources import cpus
from embconvert.processes.worker import finish
from embconvert.reporting.bench import (
    bench_header,
    bench_page,
    bench_rows,
    best_words,
    graphs_header,
    graphs_rows,
)
from embconvert.reporting.output_page import ELSEWHERE, refuse_other_than_file, write_page
from embconvert.request.records import BenchRequest, Finished
from embconvert.speed.bench import best_files
from embconvert.speed.bench_records import Benchmark, as_text


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
    with output_errors(request.output, ELSEWHERE):
        # Before minutes of measuring.
        refuse_other_than_file(request.output)
        refuse_unwritable(request.output.parent)
    found = {
        name: _bench(replace(request, folder=request.folder / name, seconds=share), console)
        for name in routes
    }
    write_page(request.output, bench_page(list(found.values())))
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
        opened = BenchedFolder(
            request=request, manifest=manifest, texts=texts, shapes=request.shapes,
            workers=workers, console=console,
        )  # fmt: skip
        for path in fixed:
            opened.leave_out(path, "it runs batches of one shape only, or in another program")
        return _measured(opened)


def _measured(bench: BenchedFolder) -> Benchmark:
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
    settings = [(p, t) for p in providers_of(bench, available) for t in threads_of(bench)]
    share = bench.request.seconds / len(settings)
    measured = [one for setting in settings for one in time_graphs(bench, *setting, share)]
    if not measured:
        left_out = "; ".join(f"{one.what}: {one.reason}" for one in bench.left_out)
        raise FidelityError(
            f"no graph could be timed ({left_out})",
            "allow more time with --seconds, or give other --providers or smaller --shapes",
        )
    timed = sorted({shape for one in measured for shape in one.times.seconds})
    graphs = tuple(measure_graph(bench, record, timed, measured) for record in manifest.artifacts)
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
