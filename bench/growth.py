"""How the cost grows: with connections, with models, with the size of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

import click

from bench import tasks
from bench.failures import SystemFailedError
from bench.load import Load, measure
from bench.marsmith_server import (
    SETUPS,
    make_project,
    marsmith,
    marsmith_server,
    marsmith_system,
    repeat_archive,
)
from bench.results import Comparison, Goal, Result, Series, Table, worst_growth
from bench.rounds import Effort
from bench.systems import System
from bench.torchserve import stock_server

_CONNECTIONS = (1, 4, 16, 64, 256)
_MODELS = (1, 2, 4, 8)
_SIDES = (28, 256, 1000, 2000, 3464, 4899)  # pixels of square pictures: to 24 megapixels
_SIZE_CONNECTIONS = 4
_SIZE_WARM_UP = 3.0  # seconds; it is the picture that takes the time
_MODEL_CONNECTIONS = 64
_WARM_UP_CONNECTIONS = 32  # TorchServe's own queue holds 100 requests, and refuses one more
# How much more than in proportion a cost may grow between two points: what two runs of the same
# differ by here.
_NOISE = 1.15
Point = list[Load]  # one load a round


def growth(effort: Effort) -> Result:
    """Measure all three curves of Marsmith, the first one of TorchServe as well."""
    result = Result("growth")
    for curve in (_connections, _models, _sizes):
        tables, axis, comparison = curve(effort)
        result.tables += tables
        result.curves |= {table.title: list(axis) for table in tables}
        result.comparisons.append(comparison)
    return result


def _connections(effort: Effort) -> tuple[list[Table], Sequence[float], Comparison]:
    cases = tasks.digits()
    systems = [marsmith_server("digits", cases), stock_server("digits", cases)]
    loads = {system.name: _over(system, _CONNECTIONS, effort) for system in systems}
    tables = _tables("over connections", loads)
    p99 = [[load.p99 for load in point] for point in loads[systems[0].name]]
    return tables, _CONNECTIONS, _linear("p99 over 1 to 256 connections", _CONNECTIONS, p99)


def _over(system: System, connections: Sequence[int], effort: Effort) -> list[Point]:
    """Measure with ever more connections, as far as the system gets."""
    loads: list[Point] = []
    try:
        system.start()
        measure(system, min(_WARM_UP_CONNECTIONS, max(connections)), effort.warm_up)
        for count in connections:
            loads.append(_rounds(system, count, effort))
    except SystemFailedError as error:
        click.echo(f"  {system.name} failed: {error}", err=True)
    finally:
        system.stop()
    return loads


def _rounds(system: System, connections: int, effort: Effort) -> Point:
    return [measure(system, connections, effort.seconds) for _ in range(effort.rounds)]


def _models(effort: Effort) -> tuple[list[Table], Sequence[float], Comparison]:
    """Serve the same archive under several names, and ask all of them in turn."""
    folder = make_project(SETUPS["digits"])
    names = repeat_archive(folder / "archives.toml", "digits", max(_MODELS))
    marsmith(folder, "build", *names)
    loads = []
    for count in _MODELS:
        system = _several(folder, names[:count])
        loads += _over(system, [_MODEL_CONNECTIONS], effort)
    tables = _tables("over models", {"Marsmith": loads})
    return tables, _MODELS, _linear("time per request over 1 to 8 models", _MODELS, _times(loads))


def _several(folder: Path, names: Sequence[str]) -> System:
    system = marsmith_system(folder, names, tasks.digits(), "Marsmith")
    system.paths = [f"/predictions/{name}" for name in names]
    return system


def _sizes(effort: Effort) -> tuple[list[Table], Sequence[float], Comparison]:
    pixels = [side * side / 1e6 for side in _SIDES]
    system = marsmith_server("resnet18", tasks.sized_photo(_SIDES[0]))
    loads = []
    try:
        system.start()
        for side in _SIDES:
            system.ask(tasks.sized_photo(side))
            measure(system, _SIZE_CONNECTIONS, min(effort.warm_up, _SIZE_WARM_UP))
            loads.append(_rounds(system, _SIZE_CONNECTIONS, effort))
    except SystemFailedError as error:
        click.echo(f"  {system.name} failed: {error}", err=True)
    finally:
        system.stop()
    tables = _tables("over megapixels", {"Marsmith": loads})
    return tables, pixels, _linear("time per request over 28 px to 24 MP", pixels, _times(loads))


def _times(points: Sequence[Point]) -> list[list[float]]:
    return [[1 / load.requests_per_second for load in point] for point in points]


def _tables(over: str, loads: dict[str, list[Point]]) -> list[Table]:
    """Show the median of each point."""
    rates = [
        Series(name, [median(one.requests_per_second for one in point) for point in many])
        for name, many in loads.items()
    ]
    p99 = [
        Series(name, [median(one.p99 for one in point) for point in many])
        for name, many in loads.items()
    ]
    return [Table(f"requests/s {over}", "requests/s", rates), Table(f"p99 {over}", "ms", p99)]


def _linear(work: str, amounts: Sequence[float], costs: Sequence[Sequence[float]]) -> Comparison:
    """Compare the growth of the medians; the spread is that of the rounds."""
    goal = Goal(f"growth: {work}", "linear growth", _NOISE, at_most=True)
    if len(costs) != len(amounts):
        return Comparison(goal, "Marsmith", "", None, "some points are missing")
    rounds = [worst_growth(amounts, values) for values in zip(*costs, strict=True)]
    ratio = worst_growth(amounts, [median(values) for values in costs])
    spread = [min(ratio, *rounds), max(ratio, *rounds)]
    return Comparison(goal, "Marsmith", "linear", ratio, spread=spread)
