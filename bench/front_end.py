"""What TorchServe's front end gains by settings that config.properties may hold."""

from __future__ import annotations

import psutil

from bench import tasks
from bench.failures import SystemFailedError
from bench.load import measure
from bench.marsmith_server import SETUPS, Setup, make_project, marsmith, marsmith_system
from bench.results import Result, Series, Table, beside_first
from bench.rounds import Effort
from bench.systems import System

_CONNECTIONS = 64
_SETTINGS: dict[str, dict[str, str]] = {
    "Java's own choice": {"vmargs": ""},
    "serial collector": {"vmargs": "-XX:+UseSerialGC"},
    "parallel collector": {"vmargs": "-XX:+UseParallelGC"},
    "serial, quick compiler alone": {"vmargs": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"},
    "serial, one netty thread": {
        "vmargs": "-XX:+UseSerialGC",
        "number_of_netty_threads": "1",
        "netty_client_threads": "1",
    },
    "serial, four netty threads": {
        "vmargs": "-XX:+UseSerialGC",
        "number_of_netty_threads": "4",
        "netty_client_threads": "4",
    },
    "serial, direct buffers": {"vmargs": "-XX:+UseSerialGC", "prefer_direct_buffer": "true"},
}


def front_end(effort: Effort) -> Result:
    """Serve digits with each choice, and see what the front end spends."""
    quantities = ("requests/s", "p99", "memory", "processor time a request")
    units = ("requests/s", "ms", "MB", "us")
    tables = [
        Table(f"{quantity}, 64 connections", unit, [Series(name) for name in _SETTINGS])
        for quantity, unit in zip(quantities, units, strict=True)
    ]
    for place, settings in enumerate(_SETTINGS.values()):
        try:
            rounds = _rounds(SETUPS["digits"], settings, effort)
        except SystemFailedError as error:
            for table in tables:
                table.series[place].failure = str(error)
            continue
        for table, values in zip(tables, zip(*rounds, strict=True), strict=True):
            table.series[place].values += values
    return Result("front-end", tables, notes=[beside_first(table) for table in tables])


def _rounds(
    setup: Setup, settings: dict[str, str], effort: Effort
) -> list[tuple[float, float, float, float]]:
    folder = make_project(setup)
    config = folder / "config.properties"
    kept = [line for line in config.read_text().splitlines() if line.split("=")[0] not in settings]
    config.write_text("\n".join([*kept, *(f"{key}={value}" for key, value in settings.items())]))
    marsmith(folder, "build", setup.archive)
    system = marsmith_system(folder, [setup.archive], tasks.digits(), "Marsmith")
    try:
        system.start()
        measure(system, _CONNECTIONS, effort.warm_up)
        return [_round(system, effort.seconds) for _ in range(effort.rounds)]
    finally:
        system.stop()


def _round(system: System, seconds: float) -> tuple[float, float, float, float]:
    java = _java(system)
    before = sum(java.cpu_times()[:2])
    load = measure(system, _CONNECTIONS, seconds)
    spent = sum(java.cpu_times()[:2]) - before
    held = java.memory_full_info().pss / 1e6
    requests = load.requests_per_second * seconds
    return load.requests_per_second, load.p99, held, 1e6 * spent / requests


def _java(system: System) -> psutil.Process:
    if system.process is None:
        raise SystemFailedError("it does not run")
    children = psutil.Process(system.process.pid).children(recursive=True)
    return next(child for child in children if child.name() == "java")
