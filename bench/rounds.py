"""Alternating rounds: every system is measured once in each, so none has the quiet minute.

Systems that keep cores busy while they are idle come last, each alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import click
import psutil

from bench.failures import SystemFailedError
from bench.load import Load, measure
from bench.results import Series, Table
from bench.systems import System


@dataclass(frozen=True)
class Effort:
    """How long to measure: rounds of so many seconds, after a warm-up."""

    rounds: int = 3
    seconds: float = 2.0
    warm_up: float = 4.0  # Java compiles its code again after some 10,000 requests


FULL = Effort()
QUICK = Effort(rounds=3, seconds=2.0, warm_up=2.0)
TRIAL = Effort(rounds=1, seconds=1.0, warm_up=1.0)


_LOOK = 1.0  # seconds of looking at how busy the cores are while all servers are idle
_WARM_UP_CONNECTIONS = 32  # where one alone would take minutes to warm a server up
_MOST_BUSY = 10.0  # percent; idle servers, Ray's before all, take some of that


class Bout:
    """Systems under the same load, in turn. What fails once is out, with the reason."""

    def __init__(
        self,
        systems: Sequence[System],
        connections: int,
        effort: Effort,
        loops: Mapping[str, Callable[[float], Load]] | None = None,
    ) -> None:
        """`loops` are measured in the rounds as well: functions of the seconds they may take."""
        self._systems = systems
        self._loops = loops or {}
        self._connections = connections
        self._effort = effort
        names = [*(system.name for system in systems), *self._loops]
        self.loads: dict[str, list[Load]] = {name: [] for name in names}
        self.failures: dict[str, str] = {}
        self.busy: list[float] = []  # percent of all cores, by others, before each round

    def run(self) -> None:
        """Start all, measure them in rounds, stop all."""
        with ExitStack() as stack:
            steady = [system for system in self._systems if not system.busy_when_idle]
            for system in steady:
                stack.callback(system.stop)
                self._try(system, self._start)
            for number in range(self._effort.rounds):
                click.echo(f"  round {number + 1} of {self._effort.rounds}", err=True)
                self.busy.append(psutil.cpu_percent(_LOOK))
                for system in steady:
                    self._try(system, self._round)
                for name, measure_loop in self._loops.items():
                    self._run_loop(name, measure_loop)
        for system in self._systems:
            if system.busy_when_idle:
                self._try(system, self._alone)

    @property
    def warnings(self) -> list[str]:
        """Say so if others used the machine meanwhile: such figures are worth little."""
        if max(self.busy, default=0.0) <= _MOST_BUSY:
            return []
        shares = ", ".join(f"{share:.0f} %" for share in self.busy)
        return [f"NOT A QUIET MACHINE: others used {shares} of the cores before the rounds."]

    def _start(self, system: System) -> None:
        click.echo(f"  starting {system.name}", err=True)
        system.start()
        connections = self._connections if self._connections > 1 else _WARM_UP_CONNECTIONS
        measure(system, connections, min(self._effort.warm_up, system.warm_up))

    def _round(self, system: System) -> None:
        load = measure(system, self._connections, self._effort.seconds)
        self.loads[system.name].append(load)

    def _alone(self, system: System) -> None:
        try:
            self._start(system)
            for _ in range(self._effort.rounds):
                self._round(system)
        finally:
            system.stop()

    def _run_loop(self, name: str, measure_loop: Callable[[float], Load]) -> None:
        try:
            self.loads[name].append(measure_loop(self._effort.seconds))
        except SystemFailedError as error:
            self.failures[name] = str(error)

    def _try(self, system: System, step: Callable[[System], None]) -> None:
        if system.name in self.failures:
            return
        try:
            step(system)
        except SystemFailedError as error:
            click.echo(f"  {system.name} failed: {error}", err=True)
            self.failures[system.name] = str(error)
            self.loads[system.name].clear()  # what it did before is no success either
            system.stop()

    def table(self, title: str, unit: str, value: Callable[[Load], float]) -> Table:
        """Return one quantity of all systems."""
        series = [
            Series(name, [value(load) for load in loads], self.failures.get(name, ""))
            for name, loads in self.loads.items()
        ]
        return Table(title, unit, series)
