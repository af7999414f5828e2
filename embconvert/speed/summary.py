"""Makes records of measured times."""

from collections.abc import Mapping, Sequence
from statistics import median

from embconvert.models.shapes import Shape
from embconvert.speed.records import GraphSpeed, ShapeSpeed, SpeedsRecord
from embconvert.speed.sessions import Times
from embconvert.speed.statistics import joint, speedup


def groups_that_fit(
    sizes: Mapping[str, int], base: str | None, available_bytes: int
) -> tuple[list[list[str]], list[str]]:
    """Groups graphs that are loaded at the same time, each group with the one to compare with.

    Args:
        sizes: Bytes of each graph; ONNX Runtime needs up to twice as many.
        base: The graph to compare with; None if there is none.

    Returns:
        The groups, and the graphs that do not even fit beside `base`.
    """

    def fits(group: Sequence[str]) -> bool:
        return 2 * sum(sizes[name] for name in group) <= available_bytes

    shared = [] if base is None else [base]
    groups: list[list[str]] = []
    left_out: list[str] = []
    for name in (name for name in sizes if name != base):
        if groups and fits([*groups[-1], name]):
            groups[-1].append(name)
        elif fits([*shared, name]):
            groups.append([*shared, name])
        else:
            left_out.append(name)
    if not groups and shared and fits(shared):
        groups.append(shared)
    elif not groups:
        left_out = list(sizes)
    return groups, left_out


def speeds_record(
    groups: Sequence[tuple[Sequence[str], Times]], base: str | None, threads: int
) -> SpeedsRecord:
    """Returns the record of times of graphs that took turns; `base` is in every group."""
    graphs: dict[str, GraphSpeed] = {}
    for paths, times in groups:
        for number, path in enumerate(paths):
            if path not in graphs and times.seconds:
                graphs[path] = _graph_speed(paths, number, times.seconds, base)
    waited = [times.waited for _, times in groups if times.waited is not None]
    return SpeedsRecord(
        threads=threads, waited=max(waited, default=None), graphs=tuple(graphs.values())
    )


def _graph_speed(
    paths: Sequence[str],
    number: int,
    seconds: Mapping[Shape, Sequence[Sequence[float]]],
    base: str | None,
) -> GraphSpeed:
    is_compared = base is not None and paths[number] != base
    shapes = [
        ShapeSpeed(
            shape=shape,
            texts_per_second=shape.texts / median(rounds[number]),
            speedup=speedup(rounds[paths.index(base)], rounds[number]) if is_compared else None,
        )
        for shape, rounds in sorted(seconds.items())
    ]
    found = [shape.speedup for shape in shapes if shape.speedup is not None]
    return GraphSpeed(
        path=paths[number], shapes=tuple(shapes), speedup=joint(found) if found else None
    )
