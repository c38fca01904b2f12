"""The gateway over workers of its own, in front of TorchServe, TorchServe alone, and the peers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from bench import tasks
from bench.answers import Case
from bench.http_trials import compare_in, loaded, peers_of
from bench.marsmith_server import SETUPS, built, marsmith_server
from bench.peer_servers import PEERS, WEIGHTS
from bench.places import ROOT, TOOLS
from bench.results import Goal, Result, Table, compare
from bench.rounds import Effort
from bench.start import times_to_answer
from bench.systems import System, post_raw

_SERVE, _LOCAL, _FRONT = "marsmith serve", "gateway, local", "gateway, TorchServe"
_MOST_ADDED = 0.4  # ms at p50 of one connection


def gateway(effort: Effort) -> Result:
    """Measure digits and ResNet-18 with many connections, digits with one, and the start."""
    tasks.write_resnet18_weights(WEIGHTS["resnet18"])
    result = Result("gateway")
    _many("digits", tasks.digits(), 64, 0.8, effort, result)
    _many("resnet18", tasks.resnet18(), 16, 1.0, effort, result)
    _one(effort, result)
    for task, goal in (("digits-alone", 0.5), ("digits", None)):
        _start(task, goal, effort, result)
    return result


def _many(
    task: str, cases: Sequence[Case], connections: int, least: float, effort: Effort, into: Result
) -> None:
    peers = peers_of(PEERS, task, cases)
    result = loaded("gateway", _systems(task, cases), peers, connections, effort, work=task)
    goal = Goal(f"{task} by the gateway, {connections} connections", "marsmith serve", least)
    compare_in(result, goal, [_SERVE], ours=_LOCAL)
    _add(into, result)


def _one(effort: Effort, into: Result) -> None:
    cases = tasks.digits()
    peers = peers_of(PEERS[:1], "digits", cases)
    result = loaded("gateway", _systems("digits-alone", cases), peers, 1, effort, work="digits")
    goal = Goal("digits by the gateway, one connection, p50", PEERS[0].name, 1, at_most=True)
    compare_in(result, goal, [PEERS[0].name], table=1, less=True, ours=_LOCAL)
    _add(into, result)
    times = {one.system: one for one in result.tables[1].series}
    pairs = zip(times[_FRONT].values, times[_SERVE].values, strict=False)
    if added := sorted(front - alone for front, alone in pairs):
        into.notes.append(
            f"In front of TorchServe the gateway adds {added[len(added) // 2]:.2f} ms to the p50 "
            f"of one connection ({added[0]:.2f} to {added[-1]:.2f}; goal: at most {_MOST_ADDED})."
        )


def _start(task: str, most: float | None, effort: Effort, into: Result) -> None:
    """Start `marsmith serve` and the local gateway in turn, until the first right answer."""
    serve, local, _ = _systems(task, tasks.digits())
    series = times_to_answer([serve, local], effort)
    what = SETUPS[task].archive
    into.tables.append(Table(f"{what}: start to first right answer", "s", series))
    if most is not None:
        goal = Goal(f"{what} by the gateway: start to first right answer", _SERVE, most, True)
        into.comparisons.append(compare(goal, series[1], series[:1], less=True))


def _systems(task: str, cases: Sequence[Case]) -> list[System]:
    """Return the three ways to serve a task, from one project."""
    serve = marsmith_server(task, cases, _SERVE)
    archive, (folder, _) = SETUPS[task].archive, built(task)

    def local(port: int, _: Path) -> list[str | Path]:
        words = ["gateway", archive, "--backend", "local", "--port", str(port)]
        return [TOOLS / "marsmith", "--project", folder, *words]

    def front(port: int, _: Path) -> list[str | Path]:
        return [sys.executable, "-m", "bench.in_front", folder, archive, str(port)]

    path = post_raw(f"/models/{archive}/predict")
    environment = {"PYTHONPATH": str(ROOT)}
    return [
        serve,
        System(_LOCAL, cases, local, path),
        System(_FRONT, cases, front, path, environment),
    ]


def _add(into: Result, result: Result) -> None:
    into.tables += result.tables
    into.comparisons += result.comparisons
    into.notes += result.notes
