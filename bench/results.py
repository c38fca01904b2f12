"""What was measured, as data: written to JSON after each trial, read again for the document."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.places import RESULTS, ROOT


@dataclass(frozen=True)
class Goal:
    """What a comparison must reach: a ratio of at least `ratio`, or of at most that."""

    work: str
    against: str
    ratio: float
    at_most: bool = False


@dataclass
class Series:
    """What one system did, one value a round; `failure` says why there is none."""

    system: str
    values: list[float] = field(default_factory=list)
    failure: str = ""

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return statistics.median(self.values) if self.values else float("nan")


@dataclass(frozen=True)
class Comparison:
    """A goal beside what was measured; no ratio where one side failed.

    `spread` is the least and the greatest ratio of a round.
    """

    goal: Goal
    ours: str
    theirs: str
    ratio: float | None
    note: str = ""
    spread: Sequence[float] = ()

    @property
    def reached(self) -> bool:
        """Whether the goal is met."""
        if self.ratio is None:
            return False
        goal = self.goal
        return self.ratio <= goal.ratio if goal.at_most else self.ratio >= goal.ratio


@dataclass(frozen=True)
class Table:
    """Series of one quantity, such as requests per second with 64 connections."""

    title: str
    unit: str
    series: list[Series]


@dataclass
class Result:
    """All that one trial gave. `curves` gives tables their horizontal axis, by title.

    The values of such a table's series are points of a line, not rounds.
    """

    trial: str
    tables: list[Table] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    curves: dict[str, list[float]] = field(default_factory=dict)
    date: str = ""
    command: str = ""
    machine: dict[str, str] = field(default_factory=dict)


def compare(goal: Goal, ours: Series, theirs: list[Series], *, less: bool = False) -> Comparison:
    """Compare with the best of others: the median of the rounds' ratios, ours to theirs.

    `less`: less is better, so the best one is the least.
    """
    able = [one for one in theirs if one.values]
    if not ours.values or not able:
        failed = [one for one in (ours, *theirs) if not one.values]
        note = "; ".join(f"{one.system}: {one.failure}" for one in failed)
        return Comparison(goal, ours.system, "", None, note)
    best = (min if less else max)(able, key=lambda one: one.median)
    pairs = zip(ours.values, best.values, strict=False)
    ratios = [own / other for own, other in pairs]
    spread = [min(ratios), max(ratios)]
    return Comparison(goal, ours.system, best.system, statistics.median(ratios), spread=spread)


def beside_first(table: Table) -> str:
    """Tell each median of a table as a multiple of the first one."""
    first, *others = table.series
    told = [f"{one.system} {one.median / first.median:.2f} x" for one in others if one.values]
    return f"{table.title}, beside {first.system}: {', '.join(told)}."


def worst_growth(amounts: Sequence[float], costs: Sequence[float]) -> float:
    """Return the most that a cost grew between two neighbours, as a share of what it grew over.

    1 is linear, less is better. A cost that shrinks, or is lost in what a request costs anyway,
    counts by its own share.
    """
    pairs = pairwise(zip(amounts, costs, strict=True))
    return max((after[1] / before[1]) / (after[0] / before[0]) for before, after in pairs)


def save(result: Result) -> None:
    """Keep a result, in the place of an earlier one of the same trial."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{result.trial}.json"
    text = json.dumps(asdict(result), indent=1, ensure_ascii=False)
    path.write_text(text.replace(f"{ROOT}/", "") + "\n")  # a failure may name files of this machine


def read(path: Path) -> Result:
    """Read a result that `save` wrote."""
    values: dict[str, Any] = json.loads(path.read_text())
    values["tables"] = [
        Table(one["title"], one["unit"], [Series(**series) for series in one["series"]])
        for one in values["tables"]
    ]
    values["comparisons"] = [
        Comparison(**{**one, "goal": Goal(**one["goal"])}) for one in values["comparisons"]
    ]
    return Result(**values)
