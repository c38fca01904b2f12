"""Pictures of results as SVG: bars for ratios beside their goals, lines for curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from bench.results import Comparison, Table

_WIDTH, _LEFT, _ROW = 900, 480, 26
_OURS, _SHORT, _GREY = "#2b6cb0", "#c05621", "#718096"
_LINES = ("#2b6cb0", "#c05621", "#2f855a", "#6b46c1", "#b7791f", "#c53030", "#2c7a7b", "#718096")


def ratios(comparisons: Sequence[Comparison]) -> str:
    """Draw how far each comparison comes, where 1 is its goal, on a logarithmic axis.

    For goals of "at most" it is the goal divided by what was measured, so more is always better.
    """
    measured = [one for one in comparisons if one.ratio]
    shares = [_share(one) for one in measured]
    low, high = min([0.25, *shares]), max([2.0, *shares])
    span = math.log(high / low)

    def across(share: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - 70) * math.log(share / low) / span

    parts = []
    for number, (one, share) in enumerate(zip(measured, shares, strict=True)):
        y = 40 + number * _ROW
        label = f"{one.goal.work} / {one.goal.against}"
        colour = _OURS if one.reached else _SHORT
        parts.append(_text(_LEFT - 8, y + 12, _clipped(label, 71), "end"))
        parts.append(_box(_LEFT, y, across(share) - _LEFT, 16, colour))
        parts.append(_text(across(share) + 6, y + 12, f"{one.ratio:.2f} x", "start"))
    bottom = 40 + len(measured) * _ROW
    parts.append(_line([(across(1), 28), (across(1), bottom)], _GREY))
    parts.append(_text(across(1), 20, "goal", "middle"))
    return _svg(_WIDTH, bottom + 12, parts)


def curves(tables: Sequence[Table], axes: Mapping[str, Sequence[float]]) -> str:
    """Draw one panel a table: a line per series over the values that `axes` gives its title."""
    height = 260
    parts = []
    for number, table in enumerate(tables):
        parts += _panel(table, axes[table.title], 40 + number * height)
    return _svg(_WIDTH, 40 + len(tables) * height, parts)


def _panel(table: Table, xs: Sequence[float], top: int) -> list[str]:
    values = [value for series in table.series for value in series.values if value > 0]
    low, high = min(values), max([*values, min(values) * 2])
    left, right, bottom = 70, 620, top + 180

    def point(x: float, y: float) -> tuple[float, float]:
        along = math.log(x / min(xs)) / math.log(max(xs) / min(xs))
        up = math.log(y / low) / math.log(high / low)
        return left + along * (right - left), bottom - up * (bottom - top - 20)

    parts = [_text(left, top, f"{table.title} ({table.unit})", "start")]
    parts.append(_line([(left, top + 12), (left, bottom + 8), (right, bottom + 8)], _GREY))
    parts += [_text(point(x, low)[0], bottom + 24, _short(x), "middle") for x in xs]
    parts += [_text(left - 6, point(xs[0], y)[1] + 4, _short(y), "end") for y in (low, high)]
    for number, series in enumerate(table.series):
        colour = _LINES[number % len(_LINES)]
        pairs = zip(xs, series.values, strict=False)
        parts.append(_line([point(x, y) for x, y in pairs if y > 0], colour))
        parts.append(_text(right + 12, top + 20 + 18 * number, series.system, "start", colour))
    return parts


def _share(one: Comparison) -> float:
    ratio = one.ratio or 0.0
    return one.goal.ratio / ratio if one.goal.at_most else ratio / one.goal.ratio


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _clipped(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _svg(width: float, height: float, parts: list[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
    style = ' font-family="sans-serif" font-size="12">'
    ground = f'<rect width="{width}" height="{height}" fill="white"/>'
    return "\n".join([head + style, ground, *parts, "</svg>", ""])


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#1a202c") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"'
    return f"<text {place}>{escape(text)}</text>"


def _box(x: float, y: float, width: float, height: float, colour: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{height}"'
    return f'<rect {place} fill="{colour}"/>'


def _line(points: Sequence[tuple[float, float]], colour: str) -> str:
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"/>'
