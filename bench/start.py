"""From the command that starts a server to its first right answer."""

from __future__ import annotations

import time
from collections.abc import Sequence

from bench import tasks
from bench.failures import SystemFailedError
from bench.marsmith_server import marsmith_server
from bench.results import Goal, Result, Series, Table, compare
from bench.rounds import Effort
from bench.systems import System
from bench.torchserve import stock_server

_GOAL = Goal("from `marsmith serve` to the first right answer", "`torchserve --start`", 0.9, True)
_INTERVAL = 0.02  # seconds between questions: often enough to tell, rarely enough not to weigh


def start(effort: Effort) -> Result:
    """Start both in turn with the archive `digits`, and ask until the answer is right."""
    cases = tasks.digits()
    systems = [marsmith_server("digits", cases), stock_server("digits", cases)]
    series = times_to_answer(systems, effort)
    table = Table("from the start to the first right answer", "s", series)
    return Result("start", [table], [compare(_GOAL, series[0], series[1:], less=True)])


def times_to_answer(systems: Sequence[System], effort: Effort) -> list[Series]:
    """Start systems in turn, and ask each until its answer is right; return the seconds."""
    series = [Series(system.name) for system in systems]
    for number in range(effort.rounds + 1):
        for system, one in zip(systems, series, strict=True):
            try:
                seconds = seconds_to_answer(system)
            except SystemFailedError as error:
                one.failure = str(error)
                continue
            if number:  # the first time fills the page cache
                one.values.append(seconds)
    return series


def seconds_to_answer(system: System) -> float:
    """Start a system, wait for its first right answer, and end it; return the seconds it took."""
    begin = time.perf_counter()
    try:
        system.launch()
        system.wait(_INTERVAL)
        return time.perf_counter() - begin
    finally:
        system.stop()
