"""What pygal does not draw: names that never overlap, and lines that lie on one another.

Both work on the SVG that pygal made, whose elements they read and to which they add some.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any
from xml.etree import ElementTree

#: Room for a line of text at the size that it has on a phone.
LINE_HEIGHT = 18.0
#: Dots so near to one another, in pixels, count as one.
_ONE_DOT = 5.0
_GAP = 12.0
#: From a line of text's middle to the line that it stands on.
_BASELINE = 4.5
#: Of equal lines, each shows a dash of this length in turn.
_DASH = 7.0

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class DotName:
    """A name to be written beside a plot; its style is its dot's class in the style sheet."""

    text: str
    dot: Point
    style: str


def names_of_dots(svg: Any, names: Mapping[int, str]) -> list[DotName]:
    """Returns the names of a plot's dots from top to bottom; those of one dot once each.

    Each series has one dot; names are by the series' number.
    """
    found: list[DotName] = []
    for number, group in _series(svg, "overlay"):
        for circle in group.iter("circle"):
            dot = (float(circle.get("cx")), float(circle.get("cy")))
            near = [n.dot for n in found if max(_apart(n.dot, dot)) < _ONE_DOT]
            name = DotName(text=names[number], dot=near[0] if near else dot, style=f"c-of-{number}")
            if (name.text, name.dot) not in [(n.text, n.dot) for n in found]:
                found.append(name)
    return sorted(found, key=lambda name: (name.dot[1], -name.dot[0]))


def height_of(names: Sequence[DotName]) -> float:
    """Returns how high a plot must be at least for these names beside it."""
    return LINE_HEIGHT * len(names)


def write_names(svg: Any, names: Sequence[DotName], *, width: float, height: float) -> None:
    """Writes names in a column on the right of a plot, each with a line to its dot.

    The names are from top to bottom; the plot's own area is at least height_of() them.
    """
    (overlay,) = (g for g in svg.iter("g") if "overlay" in g.get("class", "").split())
    before = ElementTree.Element("g", {"class": "leaders"})
    overlay.insert(0, before)
    for name, y in zip(names, spread([name.dot[1] for name in names], height), strict=True):
        x = width + _GAP
        path = f"M{name.dot[0]:.1f} {name.dot[1]:.1f} L{x - 3:.1f} {y:.1f}"
        ElementTree.SubElement(before, "path", {"d": path, "class": f"leader {name.style}"})
        place = {"x": f"{x:.1f}", "y": f"{y + _BASELINE:.1f}", "class": "label"}
        ElementTree.SubElement(overlay, "text", place).text = name.text


def spread(wanted: Sequence[float], height: float) -> list[float]:
    """Returns places from 0 to the height, near the wanted ones, a line's height apart."""
    places: list[float] = []
    for place in wanted:
        places.append(max(place, places[-1] + LINE_HEIGHT if places else LINE_HEIGHT / 2))
    lowest = height - LINE_HEIGHT / 2
    for number in reversed(range(len(places))):
        places[number] = min(places[number], lowest)
        lowest = places[number] - LINE_HEIGHT
    return places


def _apart(one: Point, other: Point) -> Point:
    return abs(one[0] - other[0]), abs(one[1] - other[1])


def interleave_equal_lines(svg: Any) -> None:
    """Shows lines that lie on one another as dashes of all of their colours in turn."""
    owners: dict[tuple[Point, Point], list[int]] = defaultdict(list)
    for number, group in _series(svg, "plot"):
        for path in group.iter("path"):
            for segment in pairwise(_points(path.get("d"))):
                owners[segment].append(number)
    plot = next(g for g in svg.iter("g") if g.get("class") == "plot")
    shared = sorted((segment, of) for segment, of in owners.items() if len(of) > 1)
    for of, segments in groupby(shared, key=lambda entry: entry[1]):
        points = _joined([segment for segment, _ in segments])
        for turn, number in enumerate(of):
            group = ElementTree.SubElement(plot, "g", {"class": f"series c-of-{number}"})
            for line in points:
                ElementTree.SubElement(
                    group,
                    "path",
                    {
                        "d": "M" + " L".join(f"{x} {y}" for x, y in line),
                        "class": "line",
                        "stroke-dasharray": f"{_DASH} {_DASH * (len(of) - 1)}",
                        "stroke-dashoffset": f"{-_DASH * turn}",
                    },
                )


def _joined(segments: Sequence[tuple[Point, Point]]) -> list[list[Point]]:
    """Returns segments as lines, from left to right."""
    lines: list[list[Point]] = []
    for start, end in segments:
        if lines and lines[-1][-1] == start:
            lines[-1].append(end)
        else:
            lines.append([start, end])
    return lines


def _points(path: str) -> list[Point]:
    """Returns the points of `M1 2 L3 4`, to the pixel."""
    numbers = [round(float(word)) for word in path.replace("M", " ").replace("L", " ").split()]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _series(svg: Any, layer: str) -> Iterator[tuple[int, Any]]:
    """Yields the numbers and the groups of the series in a layer of a plot of pygal."""
    for group in svg.iter("g"):
        if group.get("class", "").split()[-1:] != [layer]:
            continue
        for series in group:
            for word in series.get("class", "").split():
                number = word.removeprefix("serie-")
                if number != word and number.isdigit():
                    yield int(number), series
