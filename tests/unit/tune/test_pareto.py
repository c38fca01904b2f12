"""marsmith/tune/pareto.py."""

from __future__ import annotations

from marsmith.tune.pareto import Point, as_svg, frontier, in_characters


def test_the_frontier_is_what_nothing_beats_in_both() -> None:
    points = [Point(100, 0.01), Point(90, 0.02), Point(300, 0.03, best=True), Point(200, 0.03)]
    assert frontier(points) == [0, 2]
    drawn = in_characters(points, 0.05)
    body = "".join(line.partition("|")[2] for line in drawn.splitlines())
    assert (body.count("#"), body.count("o"), body.count(".")) == (1, 1, 2)
    svg = as_svg("<t>", points, ["a", "b&", "c", "d"], 0.05)
    assert svg.count("<circle") == 4
    assert "b&amp;: 90 requests/s, p99 20 ms" in svg
    assert in_characters([], 0.05)
