"""How much memory a further worker takes, beside one of TorchServe's as people set it up."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import httpx2
import psutil

from bench import tasks
from bench.failures import SystemFailedError
from bench.marsmith_server import Setup, make_project, marsmith, marsmith_system
from bench.places import BENCH, ROOT, WORK
from bench.results import Goal, Result, Series, Table, compare
from bench.rounds import Effort
from bench.systems import System, with_workers
from bench.torchserve import StockArchive, pack, stock_system

_GOAL = Goal("memory (PSS) of a further worker, 45 MB of weights", "a stock worker", 0.6, True)
_MOST_WORKERS = 3
_WEIGHTS = WORK / "generator.pth"
_IMPORT = "import torch"
_REST = 3.0  # seconds after the last request: at rest
_PATIENCE = 120.0  # seconds for a worker to be ready


def memory(effort: Effort) -> Result:
    """Measure what the second and third worker take, of Marsmith and of TorchServe."""
    del effort  # memory does not change from round to round
    tasks.write_generator_weights(_WEIGHTS)
    cases = tasks.unchecked_photo()
    setup = Setup("cartoon", batch_size=1)  # as the stock worker, which has no batches
    folder = make_project(setup)
    shutil.copy(_WEIGHTS, folder / "weights" / "cartoon.pth")
    _without_samples(folder / "archives.toml")
    marsmith(folder, "build", "cartoon")
    model = ROOT / "model_defs" / "resnet_generator.py"
    stock = StockArchive("generator", f"{BENCH / 'stock' / 'cartoon.py'}", model, _WEIGHTS)
    systems = {
        "cartoon": marsmith_system(folder, ["cartoon"], cases, "Marsmith"),
        "generator": stock_system(pack(stock), "generator", cases),
    }
    series = [_further_workers(system, name) for name, system in systems.items()]
    alone = Series(f"`{_IMPORT}` alone", _further_imports())
    table = Table("PSS of the second and third worker", "MB", [*series, alone])
    result = Result("memory", [table], [compare(_GOAL, series[0], series[1:2], less=True)])
    result.notes.append(
        f"At rest, three seconds after the last request. `{_IMPORT}` alone is "
        f"{alone.median / series[1].median:.2f} of a stock worker; Marsmith's are forked from a "
        "process that did it once."
    )
    result.notes.append("PSS counts a page that n processes share as 1/n for each of them.")
    return result


def _further_imports() -> list[float]:
    """Return the megabytes that a second process takes which only imports torch, a third, …"""
    totals, processes = [], []
    try:
        for _ in range(_MOST_WORKERS):
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-c", f"{_IMPORT}; print(flush=True); input()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            processes.append(process)
            if process.stdout is None or not process.stdout.readline():
                raise SystemFailedError(f"{_IMPORT} failed")
            totals.append(sum(psutil.Process(p.pid).memory_full_info().pss for p in processes))
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    return [(after - before) / 1e6 for before, after in pairwise(totals)]


def _further_workers(system: System, model: str) -> Series:
    """Return the megabytes that the second worker takes, the third, …"""
    try:
        system.start()
        totals = [_pss(system, model, count) for count in range(1, _MOST_WORKERS + 1)]
    except SystemFailedError as error:
        return Series(system.name, failure=str(error))
    finally:
        system.stop()
    return Series(system.name, [(after - before) / 1e6 for before, after in pairwise(totals)])


def _pss(system: System, model: str, workers: int) -> int:
    """Scale, let every worker answer, and return the bytes that all of them take."""
    address, _, port = system.url.rpartition(":")
    url = f"{address}:{int(port) + 1}/models/{model}"
    with httpx2.Client(trust_env=False, timeout=_PATIENCE) as client:
        amount = f"min_worker={workers}&max_worker={workers}&synchronous=true"
        client.put(f"{url}?{amount}").raise_for_status()
        deadline = time.monotonic() + _PATIENCE
        while len(found := _ready(client, url)) != workers:
            if time.monotonic() > deadline:
                raise SystemFailedError(f"{len(found)} of {workers} workers are ready")
            time.sleep(0.2)
    for _ in range(3 * workers):
        system.check()
    time.sleep(_REST)
    # What workers are forked from, and what stands for them, is part of what they take.
    if system.process is None:
        raise SystemFailedError("it does not run")
    held = with_workers(system.process.pid)
    if not set(found) <= {one.pid for one in held}:
        raise SystemFailedError(f"its workers {found} are not among its processes")
    return sum(one.memory_full_info().pss for one in held)


def _ready(client: httpx2.Client, url: str) -> list[int]:
    (model,) = client.get(url).json()
    return [worker["pid"] for worker in model["workers"] if worker["status"] == "READY"]


def _without_samples(archives: Path) -> None:
    """Take the samples away: with other weights their answers are others."""
    tables = archives.read_text().split("\n[")
    kept = [table for table in tables if not table.startswith("[archives.cartoon.samples")]
    archives.write_text("\n[".join(kept))
