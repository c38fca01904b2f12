"""Throughput against latency: the Pareto frontier, as text and as SVG; no IO."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_WIDTH, _HEIGHT = 64, 16  # characters
_BOX = (70, 20, 600, 340)  # of the picture's plot: left, top, width, height


@dataclass(frozen=True)
class Point:
    """The result of one configuration. `latency` is its p99 in seconds."""

    throughput: float
    latency: float
    best: bool = False  # the winner


def frontier(points: Sequence[Point]) -> list[int]:
    """Return the places of points that no other beats in both values, by rising latency."""
    found, most = [], 0.0
    order = sorted(range(len(points)), key=lambda n: (points[n].latency, -points[n].throughput))
    for place in order:
        if points[place].throughput > most:
            most = points[place].throughput
            found.append(place)
    return found


def in_characters(points: Sequence[Point], goal: float) -> str:
    """Draw requests per second over p99 (logarithmic) as text; `:` marks the goal (seconds)."""
    scale = _Scale.of(points, goal)
    rows = [[" "] * _WIDTH for _ in range(_HEIGHT)]
    at_goal = round(scale.across(goal) * (_WIDTH - 1))
    for row in rows:
        row[at_goal] = ":"
    front = set(frontier(points))
    for rank, chosen in enumerate((range(len(points)), front)):
        for place in chosen:
            point = points[place]
            x = round(scale.across(point.latency) * (_WIDTH - 1))
            y = round((1 - scale.up(point.throughput)) * (_HEIGHT - 1))
            mark = "#" if point.best else ".o"[rank]
            rows[y][x] = mark if rows[y][x] != "#" else "#"
    top = f"{scale.most:,.0f}"
    labels = [top, *[""] * (_HEIGHT - 2), "0"]
    lines = [f"{a:>{len(top)}} |{''.join(b)}".rstrip() for a, b in zip(labels, rows, strict=True)]
    low, high = _milliseconds(scale.low), _milliseconds(scale.high)
    lines.append(" " * len(top) + " +" + "-" * _WIDTH)
    lines.append(" " * (len(top) + 2) + low + high.rjust(_WIDTH - len(low)))
    lines.append("requests/s against p99   # winner   o frontier   . others   : goal")
    return "\n".join(lines)


def as_svg(title: str, points: Sequence[Point], names: Sequence[str], goal: float) -> str:
    """Draw the same as SVG; each point has its name as a tooltip."""
    scale = _Scale.of(points, goal)
    left, top, width, height = _BOX

    def place(point: Point) -> tuple[float, float]:
        x = left + scale.across(point.latency) * width
        return x, top + (1 - scale.up(point.throughput)) * height

    front = frontier(points)
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(points[n]) for n in front))
    x_goal = left + scale.across(goal) * width
    shapes = [
        f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#888"/>',
        f'<line x1="{x_goal:.1f}" y1="{top}" x2="{x_goal:.1f}" y2="{top + height}" '
        'stroke="#c33" stroke-dasharray="4 3"/>',
        f'<polyline points="{line}" fill="none" stroke="#36c"/>',
    ]
    for number, (point, name) in enumerate(zip(points, names, strict=True)):
        x, y = place(point)
        colour = "#c33" if point.best else "#36c" if number in front else "#999"
        told = f"{name}: {point.throughput:,.0f} requests/s, p99 {_milliseconds(point.latency)}"
        shapes.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{5 if point.best else 3}" fill="{colour}">'
            f"<title>{_escaped(told)}</title></circle>"
        )
    texts = [
        (left + width / 2, 14, "middle", title),
        (left + width / 2, top + height + 34, "middle", "p99 (logarithmic)"),
        (left, top + height + 16, "middle", _milliseconds(scale.low)),
        (left + width, top + height + 16, "middle", _milliseconds(scale.high)),
        (x_goal, top + height + 16, "middle", f"goal {_milliseconds(goal)}"),
        (left - 6, top + 10, "end", f"{scale.most:,.0f}/s"),
        (left - 6, top + height, "end", "0"),
    ]
    shapes += [
        f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}">{_escaped(text)}</text>'
        for x, y, anchor, text in texts
    ]
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 700 410" font-family="sans-serif" '
    return head + 'font-size="12">\n' + "\n".join(shapes) + "\n</svg>\n"


@dataclass(frozen=True)
class _Scale:
    low: float  # seconds
    high: float
    most: float  # requests per second

    @classmethod
    def of(cls, points: Sequence[Point], goal: float) -> _Scale:
        latencies = [goal, *(point.latency for point in points)]
        most = max((point.throughput for point in points), default=1.0)
        return cls(min(latencies) / 1.2, max(latencies) * 1.2, most * 1.05 or 1.0)

    def across(self, latency: float) -> float:
        return math.log(latency / self.low) / math.log(self.high / self.low)

    def up(self, throughput: float) -> float:
        return throughput / self.most


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.{0 if seconds >= 0.01 else 1}f} ms"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
