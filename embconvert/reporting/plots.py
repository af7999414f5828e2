"""The plots of the pages, as SVG that is styled by the page's style sheet."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from embconvert.evaluation.intervals import points_text
from embconvert.fidelity.figures import HISTOGRAM_EDGES
from embconvert.reporting.plot_marks import (
    height_of,
    interleave_equal_lines,
    names_of_dots,
    write_names,
)
from embconvert.reporting.summary import SAME, Graph
from embconvert.reporting.words import cosine_text, size_text

#: Drawn for the width of a phone and scaled up elsewhere, so that text stays readable.
_WIDTH, _HEIGHT = 460, 300
#: Height of the axis of sizes, and width of the names beside a plot.
_BELOW, _NAMES_WIDTH = 70, 166
# Letters that labels beside one another may have, with two for each gap.
_MOST_LETTERS = 44
_SVG = "{http://www.w3.org/2000/svg}"
#: Number of colours in the style sheet.
COLOURS = 8
_MOST_NINES = round(-math.log10(SAME))


def nines(cosine: float) -> float:
    """Returns the number of nines of a cosine, 2 for 0.99; 7 if only rounding differs."""
    return min(float(_MOST_NINES), -math.log10(max(1 - cosine, SAME)))


def _nines_label(number: int) -> str:
    return "same" if number >= _MOST_NINES else f"0.{'9' * number}" if number else "0"


def nines_axis(values: Sequence[float]) -> list[dict[str, Any]]:
    """Returns the labels of an axis for these numbers of nines."""
    last = max(1, math.ceil(max(values)))
    first = max(0, min(math.floor(min(values)), last - 1))
    return [{"value": n, "label": _nines_label(n)} for n in range(first, last + 1)]


def size_against_fidelity(
    graphs: Sequence[Graph], best: Sequence[Graph], name: Callable[[Graph], str]
) -> str:
    """Draws the size and mean cosine of verified graphs, and the line of the best ones."""
    svg = _sizes(graphs, best, height=_HEIGHT)
    names = names_of_dots(svg, {n: name(graph) for n, graph in enumerate(graphs, start=1)})
    missing = height_of(names) - (_HEIGHT - _BELOW)
    if missing > 0:
        svg = _sizes(graphs, best, height=_HEIGHT + math.ceil(missing))
        names = names_of_dots(svg, {n: name(graph) for n, graph in enumerate(graphs, start=1)})
    area = next(rect for rect in svg.iter("rect") if float(rect.get("width")) < _WIDTH)
    write_names(svg, names, width=float(area.get("width")), height=float(area.get("height")))
    described = "; ".join(
        f"{name(g)} {size_text(g.size_mb)}, mean {s.measure} {cosine_text(s.mean)}"
        for g, s in ((g, _figures(g).similarity) for g in graphs)
    )
    colours = {0: "frontier"} | {n + 1: f"c{g.number % COLOURS}" for n, g in enumerate(graphs)}
    return _finished(svg, f"Size against fidelity. {described}", colours)


def _sizes(graphs: Sequence[Graph], best: Sequence[Graph], *, height: int) -> Any:
    """Returns the plot of sizes as SVG, without names, with room for them on the right."""
    points = {graph: (graph.size_mb, nines(_figures(graph).similarity.mean)) for graph in graphs}
    largest = max(x for x, _ in points.values())
    chart = _chart("XY", height=height, xrange=(0, largest * 1.05))
    chart.margin_right = _NAMES_WIDTH
    chart.y_labels = nines_axis([y for _, y in points.values()])
    chart.x_labels = _round_steps(largest * 1.05)
    chart.x_title, chart.y_title = "size, MB", f"mean {_measures(graphs)}"
    lowest, highest = chart.y_labels[0]["value"], chart.y_labels[-1]["value"]
    chart.range = (lowest, highest + 0.05 * (highest - lowest))  # the highest dot is whole
    chart.add("frontier", [points[graph] for graph in best], stroke=True, show_dots=False)
    groups = _groups(points, within=(largest / 60, (highest - lowest) / 60))
    for graph in graphs:
        group = next(group for group in groups if graph in group)
        # What lies below others stands out around them.
        size = 6 + 2.5 * (len(group) - 1 - group.index(graph))
        chart.add("", [{"value": points[graph]}], dots_size=size)
    return chart.render_tree()


def _groups(
    points: Mapping[Graph, tuple[float, float]], within: tuple[float, float]
) -> list[list[Graph]]:
    """Groups the graphs whose points coincide."""
    groups: list[list[Graph]] = []
    for graph, (x, y) in points.items():
        for group in groups:
            first = points[group[0]]
            if abs(x - first[0]) < within[0] and abs(y - first[1]) < within[1]:
                group.append(graph)
                break
        else:
            groups.append([graph])
    return groups


def cosine_distribution(graph: Graph, bins: range, *, most: int) -> str:
    """Draws the distribution of the texts' distance to the reference, in bins of the histogram."""
    counts = _figures(graph).histogram
    chart = _chart("Bar", height=170, spacing=4, margin_bottom=6)
    # Reversed, so that better is to the right.
    shown = list(reversed(bins))
    chart.x_labels = [_bin_label(number) for number in shown]
    chart.x_labels_major = [label for label in chart.x_labels if label]
    chart.show_minor_x_labels = False
    chart.y_labels = _round_steps(most)
    chart.range = (0, most)
    chart.add(graph.label, [counts[number] or None for number in shown])
    near = _figures(graph).similarity
    described = f"{graph.label}: texts by {near.measure}, from {cosine_text(near.min)}"
    return _finished(
        chart.render_tree(),
        f"Distribution of {near.measure}s. {described} up",
        {0: f"c{graph.number % COLOURS}"},
    )


def used_bins(graphs: Sequence[Graph]) -> range:
    """Returns the histogram bins that any of the graphs uses, in whole decades."""
    used = [n for graph in graphs for n, count in enumerate(_figures(graph).histogram) if count]
    # Bin 0 is below the first edge; four bins are a decade.
    first, last = (min(used) - 1) // 4 * 4 + 1, math.ceil(max(used) / 4) * 4
    return range(max(0, first), min(len(HISTOGRAM_EDGES), max(last, first + 7)) + 1)


def _bin_label(number: int) -> str:
    """Returns the label of a bin that begins a decade, "" for the others."""
    if number == 0:
        return "same"
    if number == 1 or (number - 1) % 4 or number > len(HISTOGRAM_EDGES) - 4:
        return ""
    return _nines_label(_MOST_NINES - (number - 1) // 4)


def layer_drift(graphs: Sequence[Graph]) -> str:
    """Draws the similarity of hidden states to those of the exported graph, by layer."""
    values = {g: [nines(layer.cosine) for layer in _figures(g).layers] for g in graphs}
    layers = max((_figures(graph).layers for graph in graphs), key=len)
    # Dots of equal lines would hide each other; a single layer is no line.
    chart = _chart("Line", dots_size=3.5, show_dots=len(layers) < 2)
    chart.y_labels = nines_axis([value for column in values.values() for value in column])
    step = math.ceil(len(layers) / 8)
    chart.x_labels = [str(layer.layer) for layer in layers]
    chart.x_labels_major = chart.x_labels[::step]
    chart.show_minor_x_labels = False
    chart.x_title, chart.y_title = "layer", "mean cosine"
    for graph in graphs:
        chart.add(graph.label, values[graph])
    described = "; ".join(
        f"{g.label} {', '.join(cosine_text(layer.cosine) for layer in _figures(g).layers)}"
        for g in graphs
    )
    colours = {n: f"c{graph.number % COLOURS}" for n, graph in enumerate(graphs)}
    svg = chart.render_tree()
    interleave_equal_lines(svg)
    return _finished(svg, f"Hidden states, layer by layer. {described}", colours)


def speeds_by_shape(
    speeds: Mapping[str, Mapping[str, tuple[float, float]]], shapes: Sequence[str]
) -> str:
    """Draws how many times as fast as float32 each graph is, with the spread, by batch shape.

    `shapes` is in the order in which they are drawn; a graph may lack some.
    """
    largest = max(times for of in speeds.values() for times, _ in of.values())
    is_narrow = sum(len(shape) + 2 for shape in shapes) > _MOST_LETTERS
    chart = _chart("Bar", spacing=12, x_label_rotation=90 if is_narrow else 0)
    chart.x_labels = shapes
    chart.y_labels = _round_steps(max(1.2, largest) * 1.05)
    chart.x_title, chart.y_title = "texts x tokens", "relative speed"
    for graph, of in speeds.items():
        chart.add(graph, [of[shape][0] if shape in of else None for shape in shapes])
    described = "; ".join(
        f"{graph} {', '.join(f'{s} {t:.2f} ± {spread:.2f}' for s, (t, spread) in of.items())}"
        for graph, of in speeds.items()
    )
    colours = {number: f"c{(number + 1) % COLOURS}" for number in range(len(speeds))}
    return _finished(chart.render_tree(), f"Speed relative to float32. {described}", colours)


def losses_with_intervals(losses: Mapping[str, tuple[float, float, float]], figure: str) -> str:
    """Draws how much lower a figure is, with its interval, one line for each graph.

    The losses are low end, loss and high end in points, by the graph's name; at least one.
    """
    lowest = min(0.0, *(low for low, _, _ in losses.values()))
    highest = max(0.0, *(high for _, _, high in losses.values()))
    room = 0.05 * max(highest - lowest, 0.1)
    chart = _chart("XY", height=70 + 34 * len(losses), stroke=True, dots_size=4)
    chart.xrange = (lowest - room, highest + room)
    chart.x_labels = _round_steps(highest + room, lowest - room)
    chart.range = (-0.5, len(losses) - 0.5)
    places = {name: len(losses) - 1 - number for number, name in enumerate(losses)}
    chart.y_labels = [{"value": place, "label": name} for name, place in places.items()]
    chart.x_title = f"loss of {figure}, points"
    chart.add("none", [(0, -0.5), (0, len(losses) - 0.5)], show_dots=False)
    for name, values in losses.items():
        chart.add(name, [(value, places[name]) for value in values])
    described = "; ".join(
        f"{name} {points_text(loss)}, {points_text(low)} to {points_text(high)}"
        for name, (low, loss, high) in losses.items()
    )
    colours = {0: "frontier"} | {n: f"c{n % COLOURS}" for n in range(1, len(losses) + 1)}
    return _finished(chart.render_tree(), f"Loss of {figure}. {described}", colours)


def _measures(graphs: Sequence[Graph]) -> str:
    """Returns the names of the graphs' measures; their models may be of several kinds."""
    return " or ".join(dict.fromkeys(str(_figures(graph).similarity.measure) for graph in graphs))


def _figures(graph: Graph) -> Any:
    assert graph.fidelity is not None
    return graph.fidelity


def _round_steps(largest: float, smallest: float = 0.0) -> list[dict[str, Any]]:
    """Returns labels at 0 and at round numbers from the smallest to the largest."""
    rough = max(largest - smallest, 1e-9) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    numbers = range(math.ceil(smallest / step), math.floor(largest / step) + 1)
    return [{"value": n * step, "label": f"{n * step:g}"} for n in numbers]


def _chart(kind: str, **options: Any) -> Any:
    import pygal

    usual = {
        "width": _WIDTH, "height": _HEIGHT, "margin": 8, "js": (), "css": (), "show_legend": False,
        "stroke": kind != "XY", "truncate_label": -1,
    }  # fmt: skip
    return getattr(pygal, kind)(**(usual | options))


def _finished(svg: Any, description: str, colours: Mapping[int, str]) -> str:
    """Returns a plot without scripts, styles, dates or random names.

    `colours` are CSS classes by number of the series.
    """
    for parent in list(svg.iter()):
        for child in list(parent):
            if not isinstance(child.tag, str) or _tag(child) in ("defs", "desc", "title"):
                parent.remove(child)
    svg.attrib.pop("id", None)
    svg.attrib |= {"class": "plot", "role": "img", "aria-label": description}
    for element in svg.iter():
        words = [_styled(word, colours) for word in element.get("class", "").split()]
        if words:
            element.set("class", " ".join(words))
    return ElementTree.tostring(svg, encoding="unicode")


def _styled(word: str, colours: Mapping[int, str]) -> str:
    """Returns a class of the style sheet for one that names a series."""
    for prefix in ("color-", "c-of-"):
        number = word.removeprefix(prefix)
        if number != word and number.isdigit():
            return colours[int(number)]
    return word


def _tag(element: Any) -> str:
    return str(element.tag).removeprefix(_SVG)
