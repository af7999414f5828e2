"""The plots of the pages, as SVG that takes its colours and fonts from the page's style sheet."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from embconvert.fidelity.figures import HISTOGRAM_EDGES
from embconvert.reporting.summary import SAME, Graph
from embconvert.reporting.words import cosine_text

#: Pages are drawn for a phone's width, and larger elsewhere: letters stay readable.
_WIDTH, _HEIGHT = 460, 300
#: About how wide a letter of a label is.
_LETTER = 7
_SVG = "{http://www.w3.org/2000/svg}"
#: How many the style sheet has.
COLOURS = 8
_MOST_NINES = round(-math.log10(SAME))


def nines(cosine: float) -> float:
    """Returns how many nines a cosine has, 0.99 two of them; rounding counts as seven."""
    return min(float(_MOST_NINES), -math.log10(max(1 - cosine, SAME)))


def _nines_label(number: int) -> str:
    return "same" if number >= _MOST_NINES else f"0.{'9' * number}" if number else "0"


def nines_axis(values: Sequence[float]) -> list[dict[str, Any]]:
    """Returns the labels of an axis that has room for these numbers of nines."""
    last = max(1, math.ceil(max(values)))
    first = max(0, min(math.floor(min(values)), last - 1))
    return [{"value": n, "label": _nines_label(n)} for n in range(first, last + 1)]


def size_against_fidelity(
    graphs: Sequence[Graph], best: Sequence[Graph], name: Callable[[Graph], str]
) -> str:
    """Draws each graph's size and mean cosine, with the line of the best ones.

    Args:
        graphs: Verified ones, at least one.
        best: Those on the frontier, smallest first.
        name: What a graph is called.
    """
    points = {graph: (graph.size_mb, nines(_figures(graph).similarity.mean)) for graph in graphs}
    largest = max(x for x, _ in points.values())
    chart = _chart("XY", xrange=(0, largest * 1.12), include_x_axis=True)
    chart.y_labels = nines_axis([y for _, y in points.values()])
    chart.x_labels = _round_steps(largest * 1.12)
    chart.x_title, chart.y_title = "size, MB", f"mean {_measures(graphs)}"
    lowest, highest = chart.y_labels[0]["value"], chart.y_labels[-1]["value"]
    chart.range = (lowest, highest + 0.12 * (highest - lowest))  # room for a label above
    chart.add("frontier", [points[graph] for graph in best], stroke=True, show_dots=False)
    groups = _groups(points, within=(largest / 12, (highest - lowest) / 12))
    for graph in graphs:
        group = next(group for group in groups if graph in group)
        point: dict[str, Any] = {"value": points[graph]}
        if graph is group[0]:
            names = list(dict.fromkeys(map(name, group)))
            point["label"] = " / ".join(names[:2]) + (" …" if len(names) > 2 else "")
        # What lies below others stands out around them.
        size = 6 + 2.5 * (len(group) - 1 - group.index(graph))
        chart.add(name(graph), [point], dots_size=size)
    described = "; ".join(
        f"{name(g)} {g.size_mb:.1f} MB, mean {s.measure} {cosine_text(s.mean)}"
        for g, s in ((g, _figures(g).similarity) for g in graphs)
    )
    colours = {0: "frontier"} | {n + 1: f"c{g.number % COLOURS}" for n, g in enumerate(graphs)}
    return _finished(chart, f"Size against fidelity. {described}", colours)


def _groups(
    points: Mapping[Graph, tuple[float, float]], within: tuple[float, float]
) -> list[list[Graph]]:
    """Returns the graphs, those together whose points nearly coincide."""
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
    """Draws how many texts are how far from the reference.

    Args:
        graph: A verified one.
        bins: Those of Fidelity.histogram to show.
        most: Texts that the vertical axis has room for.
    """
    counts = _figures(graph).histogram
    chart = _chart("Bar", height=170, spacing=4, margin_bottom=6)
    # A bin begins where its distance is least, so the axis reads as the others do: better is right.
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
        chart,
        f"Distribution of {near.measure}s. {described} up",
        {0: f"c{graph.number % COLOURS}"},
    )


def used_bins(graphs: Sequence[Graph]) -> range:
    """Returns the bins of the histogram that any of the graphs uses, whole decades of them."""
    used = [n for graph in graphs for n, count in enumerate(_figures(graph).histogram) if count]
    # Bin 0 is below the first edge; four bins are a decade.
    first, last = (min(used) - 1) // 4 * 4 + 1, math.ceil(max(used) / 4) * 4
    return range(max(0, first), min(len(HISTOGRAM_EDGES), max(last, first + 7)) + 1)


def _bin_label(number: int) -> str:
    """Returns a cosine for the bins that begin a decade, nothing for the others."""
    if number == 0:
        return "same"
    if number == 1 or (number - 1) % 4 or number > len(HISTOGRAM_EDGES) - 4:
        return ""
    return _nines_label(_MOST_NINES - (number - 1) // 4)


def layer_drift(graphs: Sequence[Graph]) -> str:
    """Draws how near the hidden states are to the exported graph's, layer by layer."""
    values = {g: [nines(layer.cosine) for layer in _figures(g).layers] for g in graphs}
    layers = max((_figures(graph).layers for graph in graphs), key=len)
    chart = _chart("Line", dots_size=3.5)
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
    return _finished(chart, f"Hidden states, layer by layer. {described}", colours)


def _measures(graphs: Sequence[Graph]) -> str:
    """Returns what the figures of graphs are of; they may be of models of several kinds."""
    return " or ".join(dict.fromkeys(str(_figures(graph).similarity.measure) for graph in graphs))


def _figures(graph: Graph) -> Any:
    assert graph.fidelity is not None
    return graph.fidelity


def _round_steps(largest: float) -> list[dict[str, Any]]:
    """Returns labels at 0 and a few round numbers up to the largest."""
    rough = max(largest, 1e-9) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    count = int(largest / step)
    return [{"value": n * step, "label": f"{n * step:g}"} for n in range(count + 1)]


def _chart(kind: str, **options: Any) -> Any:
    import pygal

    usual = {
        "width": _WIDTH, "height": _HEIGHT, "margin": 8, "js": (), "css": (), "show_legend": False,
        "stroke": kind != "XY", "print_labels": kind == "XY", "truncate_label": -1,
    }  # fmt: skip
    return getattr(pygal, kind)(**(usual | options))


def _finished(chart: Any, description: str, colours: Mapping[int, str]) -> str:
    """Returns a chart as SVG without scripts, styles, dates or random names.

    Args:
        chart: A pygal chart.
        description: For those who don't see it.
        colours: From a series' number to its class in the style sheet.
    """
    svg = chart.render_tree()
    for parent in list(svg.iter()):
        for child in list(parent):
            if not isinstance(child.tag, str) or _tag(child) in ("defs", "desc", "title"):
                parent.remove(child)
    svg.attrib.pop("id", None)
    svg.attrib |= {"class": "plot", "role": "img", "aria-label": description}
    for element in svg.iter():
        words = element.get("class", "").split()
        if "label" in words:
            _beside_its_dot(element)
        for word in words:
            number = word.removeprefix("color-")
            if number != word and number.isdigit():
                words[words.index(word)] = colours[int(number)]
        if words:
            element.set("class", " ".join(words))
    return ElementTree.tostring(svg, encoding="unicode")


def _beside_its_dot(label: Any) -> None:
    """Moves a label from where pygal puts it to above its dot, away from the frontier's line."""
    x, y = float(label.get("x")), float(label.get("y"))
    fits_on_the_left = len(label.text or "") * _LETTER < x
    label.set("text-anchor", "end" if fits_on_the_left else "start")
    label.set("x", f"{x + (-10 if fits_on_the_left else -20):.1f}")
    label.set("y", f"{y - 28:.1f}")


def _tag(element: Any) -> str:
    return str(element.tag).removeprefix(_SVG)
