"""Wall time and peak memory against parameters, as SVG; logarithmic on both axes."""

import math
from collections.abc import Callable, Sequence

_WIDTH, _HEIGHT, _LEFT, _TOP = 300, 220, 60, 40
_X = (10, 10_000)


def plot(points: Sequence[tuple[int, float, float]]) -> str:
    """Returns two panels.

    Args:
        points: Parameters in millions, seconds, and gigabytes of each model.
    """
    panels = [
        _panel(0, "wall time, s", [(p, seconds) for p, seconds, _ in points], (1, 10_000)),
        _panel(1, "peak memory, GB", [(p, memory) for p, _, memory in points], (0.1, 100)),
    ]
    width = 2 * (_WIDTH + _LEFT) + 20
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_HEIGHT + 90}" '
        'font-family="sans-serif" font-size="11">\n'
        f'<rect width="{width}" height="{_HEIGHT + 90}" fill="white"/>\n'
        + "".join(panels)
        + "</svg>\n"
    )


def _scale(low: float, high: float, length: float) -> Callable[[float], float]:
    span = math.log10(high / low)
    return lambda value: length * math.log10(max(value, low) / low) / span


def _decades(low: float, high: float) -> list[float]:
    return [low * 10**n for n in range(round(math.log10(high / low)) + 1)]


def _panel(
    column: int, title: str, points: Sequence[tuple[float, float]], limits: tuple[float, float]
) -> str:
    left = _LEFT + column * (_WIDTH + _LEFT)
    x, y = _scale(*_X, _WIDTH), _scale(*limits, _HEIGHT)
    bottom = _TOP + _HEIGHT
    parts = [f'<text x="{left}" y="{_TOP - 14}" font-weight="bold">{title}</text>\n']
    for value in _decades(*_X):
        at = left + x(value)
        parts.append(
            f'<line x1="{at:.1f}" y1="{_TOP}" x2="{at:.1f}" y2="{bottom}" stroke="#ddd"/>\n'
        )
        label = f"{value / 1000:g}B" if value >= 1000 else f"{value:g}M"
        parts.append(f'<text x="{at:.1f}" y="{bottom + 16}" text-anchor="middle">{label}</text>\n')
    for value in _decades(*limits):
        at = bottom - y(value)
        parts.append(
            f'<line x1="{left}" y1="{at:.1f}" x2="{left + _WIDTH}" y2="{at:.1f}" stroke="#ddd"/>\n'
            f'<text x="{left - 6}" y="{at + 4:.1f}" text-anchor="end">{value:g}</text>\n'
        )
    places = [(left + x(p), bottom - y(value)) for p, value in points]
    line = " ".join(f"{px:.1f},{py:.1f}" for px, py in places)
    parts.append(f'<polyline points="{line}" fill="none" stroke="#1a66b3" stroke-width="2"/>\n')
    parts += [
        f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3.5" fill="#1a66b3"/>\n' for px, py in places
    ]
    middle = left + _WIDTH / 2
    parts.append(f'<text x="{middle}" y="{bottom + 34}" text-anchor="middle">parameters</text>\n')
    return "".join(parts)
