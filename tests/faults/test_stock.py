"""The same faults on TorchServe as it comes, asked by a client without retries.

It only asserts that the fault occurred; its figures are for comparison, in
docs/explanation/reliability.md. What TorchServe cannot do, such as backing out of a deployment, is
done as its documentation does it: the next version is registered and, if TorchServe reports it as
up, made the default.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from marsmith.core.errors import ClientError
from tests.faults.archives import BROKEN, broken, version_of_digest
from tests.faults.bad_callers import BAD_CALLERS, IDLE, many_files
from tests.faults.clocks import clock_of_java
from tests.faults.conftest import Scale
from tests.faults.disks import fill, small_disk
from tests.faults.load import Tally
from tests.faults.servers import Stock, stock_served
from tests.faults.worker_faults import FAULTS, MODELS, nobody_up
from tests.integration.kit import wait_for

pytestmark = pytest.mark.faults

Note = Callable[[str, str, Tally], None]
_MODEL_API = ("--enable-model-api",)  # without it no version can be registered


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stock]:
    names = (*MODELS, "queueing", "closing")
    with many_files(IDLE + 2000), stock_served(tmp_path_factory.mktemp("s"), *names) as running:
        yield running


@pytest.fixture(scope="module")
def rolling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stock]:
    root = tmp_path_factory.mktemp("stock-rollout")
    with stock_served(root, "digest", options=_MODEL_API) as running:
        yield running


@pytest.mark.parametrize("fault", FAULTS)
def test_workers(stock: Stock, scale: Scale, note: Note, fault: str) -> None:
    model, inject = FAULTS[fault]
    wait_for(lambda: stock.is_whole(model), f"the workers of {model}", 120)
    before = set(stock.pids(model))
    with stock.loaded(model, scale.connections) as tally:
        time.sleep(scale.seconds / 4)
        inject(lambda: stock.pids(model))
        time.sleep(scale.seconds * 3 / 4)
    note("torchserve", fault, tally)
    assert tally.refused or set(stock.pids(model)) != before


@pytest.mark.parametrize("fault", BAD_CALLERS)
def test_bad_callers(stock: Stock, scale: Scale, note: Note, fault: str) -> None:
    model, misbehaving = BAD_CALLERS[fault]
    wait_for(lambda: stock.is_whole(model), f"the workers of {model}", 120)
    with misbehaving(stock) as outcomes, stock.loaded(model, scale.connections) as tally:
        time.sleep(scale.seconds)
    note("torchserve", fault, tally)
    assert outcomes


def test_no_worker_comes_up(stock: Stock, scale: Scale, note: Note) -> None:
    with nobody_up(stock), stock.loaded("closing", scale.connections) as tally:
        time.sleep(scale.seconds)
    note("torchserve", "no worker comes up", tally)
    assert tally.right == 0


def test_the_front_end_is_killed(tmp_path: Path, scale: Scale, note: Note) -> None:
    with (
        stock_served(tmp_path / "project", "digest") as stock,
        stock.loaded("digest", scale.connections) as tally,
    ):
        time.sleep(scale.seconds / 2)
        os.kill(stock.front_end, signal.SIGKILL)
        time.sleep(scale.seconds / 2)
    note("torchserve", "front end killed (-9)", tally)
    assert tally.lost


def test_a_full_disk_while_logging(tmp_path: Path, scale: Scale, note: Note) -> None:
    with ExitStack() as stack:
        logs = stack.enter_context(small_disk(tmp_path / "project" / "logs", 1024))
        stock = stack.enter_context(stock_served(tmp_path / "project", "chatty"))
        with stock.loaded("chatty", scale.connections) as tally:
            full = fill(logs)
            time.sleep(scale.seconds)
            free = shutil.disk_usage(logs).free
            full.unlink()
    note("torchserve", "disk full while logging", tally)
    assert free == 0


@pytest.mark.parametrize("how", BROKEN)
def test_an_archive_that_fails(rolling: Stock, scale: Scale, note: Note, how: str) -> None:
    version = f"9.{list(BROKEN).index(how)}"
    shutil.copy(broken(rolling.kit, how), rolling.kit.root / "model_store" / "broken.mar")
    refused = False
    with rolling.client() as client, rolling.loaded("digest", scale.connections) as tally:
        end = time.monotonic() + scale.seconds
        time.sleep(scale.seconds / 4)
        try:
            client.register("broken.mar", initial_workers=2, synchronous=True)
            client.set_default("digest", version)
        except ClientError:  # it does not start, so a deployment stops here
            refused = True
        time.sleep(max(0.0, end - time.monotonic()))
    note("torchserve", f"deploy of an archive that fails {how}", tally)
    with rolling.client() as client:
        client.set_default("digest", "1.0")
        if version in [one.version for one in client.describe("digest")]:
            client.unregister("digest", version)
    assert refused == (how in ("at import", "at load"))


def test_ten_times_over(rolling: Stock, scale: Scale, note: Note) -> None:
    store, patience = rolling.kit.root / "model_store", 120
    with rolling.client() as client, rolling.loaded("digest", scale.connections) as tally:
        for turn in range(10 if scale.full else 2):
            version = f"2.{turn}"
            shutil.copy(version_of_digest(rolling.kit, version), store / f"{version}.mar")
            client.register(f"{version}.mar", initial_workers=2, synchronous=True)
            client.set_default("digest", version)
            client.scale("digest", 3, 3, patience)
            client.scale("digest", 3, 3, patience, version="1.0")
            client.set_default("digest", "1.0")
            client.scale("digest", 1, 1, patience)
            client.unregister("digest", version)
    note("torchserve", "deploy, scale up, roll back, scale down; ten times", tally)
    assert rolling.versions("digest") == [("1.0", True, 1, 1)]


def test_the_clock_is_set_back(tmp_path: Path, scale: Scale, note: Note) -> None:
    clock = clock_of_java(tmp_path)
    with (
        stock_served(tmp_path / "project", "digest", env=clock.environment) as stock,
        stock.loaded("digest", scale.connections) as tally,
    ):
        clock.set_back_half_way(scale.seconds)
        lines = (stock.kit.root / "logs" / "ts_log.log").read_text().splitlines()
    note("torchserve", "clock set back by a day", tally)
    days = [line[:10] for line in lines if line[:2] == "20"]
    assert days[-1] < days[0]
