"""Which of a folder's files to take."""

from collections.abc import Sequence
from dataclasses import replace

from embconvert.manifest.artifacts import ArtifactRecord
from embconvert.manifest.consumers import consumer_of
from embconvert.manifest.layouts import LAYOUTS, SERVED_FILE
from embconvert.manifest.records import Manifest, RecommendedRecord
from embconvert.models.choices import Precision
from embconvert.speed.records import GraphSpeed, Verdict


def recommended(manifest: Manifest) -> RecommendedRecord | None:
    """Returns the file to take where nothing else is known; None where there is none.

    That is the smallest verified one that is not slower than float32, by more than noise, where it
    was made; else the fastest. If noise hides its speed, only its size speaks for it, which the
    reason says. In a layout of a program that loads one file, it is that file. Files of another
    form than the layout's are for those who asked for them. So is Q4F16, if there is another
    quantized one: it is for GPUs, and ONNX Runtime computes it wrongly on CPUs if a program lowers
    the level of its optimizations.
    """
    rules = LAYOUTS[manifest.layout]
    own = () if rules.form is None else (rules.form,)
    graphs = [g for g in manifest.artifacts if tuple(form.kind for form in g.forms) == own]
    served = [graph for graph in graphs if rules.serves_one and graph.path == SERVED_FILE]
    if served:
        consumer = consumer_of(manifest.layout, manifest.kind)
        return RecommendedRecord(path=served[0].path, reason=f"the file for {consumer.name}")
    for_cpus = [graph for graph in graphs if graph.precision is not Precision.Q4F16]
    has_choice = any(graph.precision is not Precision.FLOAT32 for graph in for_cpus)
    found = _of_graphs(manifest, for_cpus if has_choice else graphs)
    if found is None or not has_choice or len(for_cpus) == len(graphs):
        return found
    return replace(found, reason=found.reason.replace("smallest file", "smallest file for CPUs"))


def _of_graphs(manifest: Manifest, graphs: Sequence[ArtifactRecord]) -> RecommendedRecord | None:
    verified = [graph for graph in graphs if graph.fidelity is not None]
    timed = [
        (graph, speed)
        for graph in verified
        if manifest.speeds is not None and (speed := manifest.speeds.of(graph.path)) is not None
    ]
    if timed and manifest.speeds is not None:
        is_busy = bool(manifest.speeds.busy_words)
        return _by_speed(timed, has_export=manifest.exported is not None, is_busy=is_busy)
    if graphs:
        missing = "their speeds were not measured" if verified else "none was verified, nor timed"
        return RecommendedRecord(
            path=_smallest(verified or graphs).path, reason=f"the smallest file; {missing}"
        )
    return None


def _by_speed(
    timed: Sequence[tuple[ArtifactRecord, GraphSpeed]], *, has_export: bool, is_busy: bool
) -> RecommendedRecord:
    if not has_export:
        return _without_export(timed, is_busy=is_busy)
    speedups = {graph.path: speed.speedup for graph, speed in timed}
    possible = [
        graph
        for graph, speed in timed
        if speed.speedup is None or speed.speedup.verdict is not Verdict.SLOWER
    ]
    if not possible:
        return _least_slow(timed)
    smallest = _smallest(possible)
    speedup = speedups[smallest.path]
    if speedup is None:
        return RecommendedRecord(
            path=smallest.path,
            reason="the only file" if len(timed) == 1 else "no smaller file is as fast as float32",
        )
    if speedup.is_measurable:
        return RecommendedRecord(
            path=smallest.path,
            reason=f"the smallest file that is not slower than float32 ({speedup} where it was "
            "made)",
        )
    # Only its size speaks for it.
    others = "" if len(possible) == len(timed) else " but those that are slower than float32"
    busy = "busy " * is_busy
    return RecommendedRecord(
        path=smallest.path,
        reason=f"the smallest file{others}; its own speed relative to float32 was not measurable "
        f"on the {busy}machine that made it",
    )


def _without_export(
    timed: Sequence[tuple[ArtifactRecord, GraphSpeed]], *, is_busy: bool
) -> RecommendedRecord:
    missing = "there is no float32 file to compare it with"
    if is_busy:
        smallest = _smallest([graph for graph, _ in timed])
        return RecommendedRecord(
            path=smallest.path,
            reason=f"the smallest file; {missing}, and the machine that made it was too busy to "
            "tell which is the fastest",
        )
    fastest, _ = max(timed, key=lambda entry: entry[1].shapes[-1].tokens_per_second)
    return RecommendedRecord(path=fastest.path, reason=f"the fastest file; {missing}")


def _least_slow(timed: Sequence[tuple[ArtifactRecord, GraphSpeed]]) -> RecommendedRecord:
    """Returns the fastest where all are of another form than the exported graph, and slower."""
    found = [(graph, speed.speedup) for graph, speed in timed if speed.speedup is not None]
    graph, speedup = max(found, key=lambda entry: entry[1].times)
    return RecommendedRecord(
        path=graph.path,
        reason=f"the fastest file; the exported graph, on ONNX Runtime, is faster ({speedup})",
    )


def _smallest(graphs: Sequence[ArtifactRecord]) -> ArtifactRecord:
    return min(graphs, key=lambda graph: graph.total_size_bytes)
