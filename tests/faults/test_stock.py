"""The same faults on TorchServe as it comes, asked by a client without retries.

It asserts nothing of TorchServe: it gives docs/reliability.md the figures to compare with. What it
has no notion of, such as backing out of a deployment, is done as its documentation does it: the
next version is registered, and if TorchServe says it is up, made the default.
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

from marsmith.errors import ClientError
from tests.faults.archives import BROKEN, broken, version_of_digest
from tests.faults.bad_callers import BAD_CALLERS, IDLE, many_files
from tests.faults.clocks import clock_of_java
from tests.faults.conftest import Scale
from tests.faults.disks import fill, small_disk
from tests.faults.load import Tally
from tests.faults.servers import Stock, stock_served
from tests.faults.worker_faults import FAULTS, MODELS
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
    with stock.loaded(model, scale.connections) as tally:
        time.sleep(scale.seconds / 4)
        inject(lambda: stock.pids(model))
        time.sleep(scale.seconds * 3 / 4)
    note("torchserve", fault, tally)


@pytest.mark.parametrize("fault", BAD_CALLERS)
def test_bad_callers(stock: Stock, scale: Scale, note: Note, fault: str) -> None:
    model, misbehaving = BAD_CALLERS[fault]
    wait_for(lambda: stock.is_whole(model), f"the workers of {model}", 120)
    with misbehaving(stock), stock.loaded(model, scale.connections) as tally:
        time.sleep(scale.seconds)
    note("torchserve", fault, tally)


def test_no_worker_comes_up(stock: Stock, scale: Scale, note: Note) -> None:
    closed = stock.kit.root / "closed"
    closed.touch()
    for pid in stock.pids("closing"):
        os.kill(pid, signal.SIGKILL)
    with stock.client() as client:
        wait_for(lambda: client.describe("closing")[0].ready_workers == 0, "the workers to be gone")
    with stock.loaded("closing", scale.connections) as tally:
        time.sleep(scale.seconds)
    closed.unlink()
    note("torchserve", "no worker comes up", tally)


def test_the_front_end_is_killed(tmp_path: Path, scale: Scale, note: Note) -> None:
    with (
        stock_served(tmp_path / "project", "digest") as stock,
        stock.loaded("digest", scale.connections) as tally,
    ):
        time.sleep(scale.seconds / 2)
        os.kill(stock.front_end, signal.SIGKILL)
        time.sleep(scale.seconds / 2)
    note("torchserve", "front end killed (-9)", tally)


def test_a_full_disk_while_logging(tmp_path: Path, scale: Scale, note: Note) -> None:
    with ExitStack() as stack:
        logs = stack.enter_context(small_disk(tmp_path / "project" / "logs", 1024))
        stock = stack.enter_context(stock_served(tmp_path / "project", "chatty"))
        with stock.loaded("chatty", scale.connections) as tally:
            full = fill(logs)
            time.sleep(scale.seconds)
            full.unlink()
    note("torchserve", "disk full while logging", tally)


@pytest.mark.parametrize("how", BROKEN)
def test_an_archive_that_fails(rolling: Stock, scale: Scale, note: Note, how: str) -> None:
    version = f"9.{list(BROKEN).index(how)}"
    shutil.copy(broken(rolling.kit, how), rolling.kit.root / "model_store" / "broken.mar")
    with rolling.client() as client, rolling.loaded("digest", scale.connections) as tally:
        end = time.monotonic() + scale.seconds
        time.sleep(scale.seconds / 4)
        try:
            client.register("broken.mar", initial_workers=2, synchronous=True)
            client.set_default("digest", version)
        except ClientError:
            pass  # TorchServe says that it does not start: whoever deploys it stops here
        time.sleep(max(0.0, end - time.monotonic()))
    note("torchserve", f"deploy of an archive that fails {how}", tally)
    with rolling.client() as client:
        client.set_default("digest", "1.0")
        if version in [one.version for one in client.describe("digest")]:
            client.unregister("digest", version)


def test_ten_times_over(rolling: Stock, scale: Scale, note: Note) -> None:
    store, patience = rolling.kit.root / "model_store", 120
    with rolling.client() as client, rolling.loaded("digest", scale.connections) as tally:
        for turn in range(10 if scale.full else 2):
            version = f"2.{turn}"
            shutil.copy(version_of_digest(rolling.kit, version), store / f"{version}.mar")
            client.register(f"{version}.mar", initial_workers=2, synchronous=True)
            client.set_default("digest", version)
            client.scale("digest", 3, 3, patience)
            client.set_default("digest", "1.0")
            client.scale("digest", 2, 2, patience, version=version)
            client.unregister("digest", version)
    note("torchserve", "deploy, scale up, roll back, scale down; ten times", tally)


def test_the_clock_is_set_back(tmp_path: Path, scale: Scale, note: Note) -> None:
    clock = clock_of_java(tmp_path)
    with (
        stock_served(tmp_path / "project", "digest", env=clock.environment) as stock,
        stock.loaded("digest", scale.connections) as tally,
    ):
        time.sleep(scale.seconds / 2)
        clock.set_back_a_day()
        time.sleep(scale.seconds / 2)
    note("torchserve", "clock set back by a day", tally)
