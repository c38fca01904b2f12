"""Why TorchServe out of the box swings from machine to machine, and its best settings here."""

from __future__ import annotations

from contextlib import suppress

import psutil

from bench import tasks
from bench.failures import SystemFailedError
from bench.load import measure
from bench.results import Result, Series, Table, beside_first
from bench.rounds import Effort
from bench.systems import System, with_workers
from bench.torchserve import BEST, OUT_OF_THE_BOX, Settings, stock_server

_CONNECTIONS = 64
# One thing is changed at a time; what is not named is TorchServe's default: as many workers as
# cores, each with as many threads as cores, one request at a time.
_SETTINGS = (
    OUT_OF_THE_BOX,
    Settings("one worker", workers=1),
    Settings("waiting threads sleep", environment={"OMP_WAIT_POLICY": "PASSIVE"}),
    Settings("one thread", environment={"OMP_NUM_THREADS": "1"}),
    Settings("batches of 32", batch_size=32),
    BEST,
)
_QUANTITIES = {"requests/s": "requests/s", "p99": "ms", "time of cores in workers": "ms a request"}


def stock(effort: Effort) -> Result:
    """Serve digits with each of the settings, one after the other in every round."""
    cases = tasks.digits()
    systems = [stock_server("digits", cases, settings) for settings in _SETTINGS]
    tables = [
        Table(f"{title}, {_CONNECTIONS} connections", unit, [Series(one.name) for one in systems])
        for title, unit in _QUANTITIES.items()
    ]
    for _ in range(effort.rounds):
        for place, system in enumerate(systems):
            try:
                values = _measured(system, effort)
            except SystemFailedError as error:
                for table in tables:
                    table.series[place].failure = str(error)
                continue
            for table, value in zip(tables, values, strict=True):
                table.series[place].values.append(value)
    return Result("stock", tables, notes=[beside_first(tables[0]), beside_first(tables[2])])


def _measured(system: System, effort: Effort) -> tuple[float, float, float]:
    """Return requests/s, p99, and the milliseconds of a core that workers spend on a request."""
    try:
        system.start()
        measure(system, _CONNECTIONS, effort.warm_up)
        before = _spent(system)
        load = measure(system, _CONNECTIONS, effort.seconds)
        spent = _spent(system) - before
    finally:
        system.stop()
    requests = load.requests_per_second * effort.seconds
    return load.requests_per_second, load.p99, 1e3 * spent / requests


def _spent(system: System) -> float:
    seconds = 0.0
    for worker in with_workers(system.process.pid) if system.process else ():
        with suppress(psutil.Error):
            seconds += sum(worker.cpu_times()[:2])
    return seconds
