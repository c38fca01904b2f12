"""The disk is full while building, deploying and logging; the model store is read-only."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.archives import project
from tests.faults.conftest import Scale, Station, served
from tests.faults.disks import fill, read_only, small_disk
from tests.faults.load import Tally
from tests.integration.kit import Kit

Report = Callable[[str, Tally], None]


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    """A server whose model store, and whose state and logs, are small disks of their own."""
    root = tmp_path_factory.mktemp("disk")
    with ExitStack() as disks:

        def prepare(kit: Kit) -> None:
            disks.enter_context(small_disk(kit.root / "model_store", 1024))
            disks.enter_context(small_disk(kit.root / ".marsmith" / "servers", 1024))
            kit("build", "--force")

        with served(root, "chatty", prepare=prepare, secure=True) as running:
            yield running


def served_now(station: Station) -> list[tuple[str, bool, int, int]]:
    """Return what is served: version, whether it is the default, and scale."""
    with station.client() as client:
        return sorted(
            (one.version, one.default, one.min_workers, one.max_workers)
            for one in client.describe("chatty")
        )


def test_a_full_disk_while_building(tmp_path: Path) -> None:
    kit = project(tmp_path, "digest")
    shutil.rmtree(tmp_path / "model_store")
    with small_disk(tmp_path / "model_store", 64) as store:
        kit("build", "--force")
        before = (store / "digest.mar").read_bytes()
        kit.write("handlers/digest.py", (tmp_path / "handlers/digest.py").read_text() + "# " * 9000)
        full = fill(store)
        failed = kit("build", check=False)
        assert failed.returncode == 1
        assert "hint:" in failed.stderr
        assert "space" in failed.stderr
        assert (store / "digest.mar").read_bytes() == before
        assert sorted(path.name for path in store.iterdir()) == ["digest.mar", "filling"]
        full.unlink()
        kit("build")
        assert (store / "digest.mar").read_bytes() != before


def test_a_read_only_model_store_while_building(tmp_path: Path) -> None:
    kit = project(tmp_path, "digest")
    shutil.rmtree(tmp_path / "model_store")
    with small_disk(tmp_path / "model_store", 64) as store:
        kit("build", "--force")
        before = (store / "digest.mar").read_bytes()
        with read_only(store):
            failed = kit("build", "--force", check=False)
            assert failed.returncode == 1
            assert "hint:" in failed.stderr
            assert (store / "digest.mar").read_bytes() == before


@pytest.mark.faults
def test_a_full_disk_while_deploying(station: Station, scale: Scale, report: Report) -> None:
    store, before = station.kit.root / "model_store", served_now(station)
    full = fill(store)
    with station.loaded("chatty", scale.connections) as tally:
        end = time.monotonic() + scale.seconds
        how = ("deploy", "chatty", "--version", "2.0", "--no-check", "--port", station.port)
        failed = station.kit(*how, check=False)
        time.sleep(max(0.0, end - time.monotonic()))
    full.unlink()
    report("disk full while deploying", tally)
    assert failed.returncode == 1
    assert "No space left" in failed.stderr
    assert "hint:" in failed.stderr
    assert served_now(station) == before
    assert tally.refused == 0
    assert not [path.name for path in store.iterdir() if "2.0" in path.name]


@pytest.mark.faults
def test_a_read_only_model_store_while_deploying(
    station: Station, scale: Scale, report: Report
) -> None:
    before = served_now(station)
    with (
        read_only(station.kit.root / "model_store"),
        station.loaded("chatty", scale.connections) as tally,
    ):
        end = time.monotonic() + scale.seconds
        how = ("deploy", "chatty", "--version", "2.0", "--no-check", "--port", station.port)
        failed = station.kit(*how, check=False)
        time.sleep(max(0.0, end - time.monotonic()))
    report("model store read-only", tally)
    assert failed.returncode == 1
    assert "Read-only" in failed.stderr
    assert "hint:" in failed.stderr
    assert served_now(station) == before
    assert tally.refused == 0


@pytest.mark.faults
def test_a_full_disk_while_logging(station: Station, scale: Scale, report: Report) -> None:
    """The handler prints 4 kB for each request; what serves does not need its logs."""
    logs = station.kit.root / ".marsmith" / "servers"
    with station.loaded("chatty", scale.connections) as tally:
        full = fill(logs)
        time.sleep(scale.seconds)
        full.unlink()
    report("disk full while logging", tally)
    assert tally.refused == 0
    assert station.state.ready
