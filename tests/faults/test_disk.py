"""The disk is full while building, deploying and logging; the model store is read-only."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.faults.conftest import Scale
from tests.faults.disks import fill, read_only, small_disk
from tests.faults.load import Tally
from tests.faults.servers import PATIENT, Station, served
from tests.integration.kit import Kit, wait_for

Report = Callable[[str, Tally], None]


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    """A server whose model store, and whose state and logs, are small disks of their own."""
    root = tmp_path_factory.mktemp("disk")
    with ExitStack() as disks:

        def prepare(kit: Kit) -> None:
            disks.enter_context(small_disk(kit.root / "model_store", 1024))
            disks.enter_context(small_disk(kit.root / ".marsmith" / "servers", 65_536))
            kit("build", "--force")

        with served(root, "chatty", prepare=prepare, secure=True) as running:
            yield running


def test_a_full_disk_while_building(station: Station, scale: Scale, report: Report) -> None:
    """The archive that is served stays as it was; room made, the same command builds the next."""
    kit, store = station.kit, station.kit.root / "model_store"
    archive, source = store / "chatty.mar", kit.root / "handlers/chatty.py"
    before, text = archive.read_bytes(), source.read_text()
    source.write_text(text + "# " * 9000)
    full, names = fill(store), sorted(path.name for path in store.iterdir())
    with station.loaded("chatty", scale.connections) as tally:
        failed = kit("build", check=False)
        time.sleep(scale.seconds)
    report("disk full while building", tally)
    assert tally.refused == 0
    assert failed.returncode == 1
    assert "error[not-writable]" in failed.stderr
    assert "hint:" in failed.stderr
    assert archive.read_bytes() == before
    assert sorted(path.name for path in store.iterdir()) == names
    full.unlink()
    kit("build")
    assert archive.read_bytes() != before
    source.write_text(text)
    kit("build")
    assert archive.read_bytes() == before


def test_a_read_only_model_store_while_building(
    station: Station, scale: Scale, report: Report
) -> None:
    archive = station.kit.root / "model_store" / "chatty.mar"
    before = archive.read_bytes()
    with (
        read_only(archive.parent),
        station.loaded("chatty", scale.connections) as tally,
    ):
        failed = station.kit("build", "--force", check=False)
        time.sleep(scale.seconds)
    report("model store read-only while building", tally)
    assert tally.refused == 0
    assert failed.returncode == 1
    assert "hint:" in failed.stderr
    assert archive.read_bytes() == before


@pytest.mark.faults
def test_a_full_disk_while_deploying(station: Station, scale: Scale, report: Report) -> None:
    copies, before = station.kit.root / ".marsmith" / "servers", station.versions("chatty")
    full = fill(copies)
    with station.loaded("chatty", scale.connections) as tally:
        end = time.monotonic() + scale.seconds
        how = ("deploy", "chatty", "--version", "2.0", "--no-check", "--port", station.port)
        failed = station.kit(*how, check=False)
        time.sleep(max(0.0, end - time.monotonic()))
    full.unlink()
    report("disk full while deploying", tally)
    assert failed.returncode == 1
    assert "error[not-copied]" in failed.stderr
    assert "hint:" in failed.stderr
    assert station.versions("chatty") == before
    assert tally.refused == 0
    assert not [path.name for path in copies.rglob("*.mar") if "2.0" in path.name]


@pytest.mark.faults
def test_a_read_only_model_store_hinders_no_deployment(
    station: Station, scale: Scale, report: Report
) -> None:
    with (
        read_only(station.kit.root / "model_store"),
        station.loaded("chatty", scale.connections) as tally,
    ):
        end = time.monotonic() + scale.seconds
        how = ("deploy", "chatty", "--version", "2.0", "--no-check", "--port", station.port)
        station.kit(*how)
        time.sleep(max(0.0, end - time.monotonic()))
    report("model store read-only while deploying", tally)
    assert ("2.0", True) in [(one[0], one[1]) for one in station.versions("chatty")]
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


@pytest.mark.faults
def test_a_front_end_that_dies_while_the_disk_is_full_comes_back(
    station: Station, scale: Scale, report: Report
) -> None:
    """What is known of the server cannot be recorded then; it is once there is room."""
    restarts, servers = station.state.restarts, station.kit.root / ".marsmith" / "servers"
    full = fill(servers)
    with station.loaded("chatty", scale.connections, PATIENT) as tally:
        time.sleep(scale.seconds / 2)
        os.kill(station.front_end, signal.SIGKILL)
        time.sleep(scale.seconds / 2)
    full.unlink()
    for log in servers.rglob("*.log"):  # the handler's words took what room there was
        os.truncate(log, 0)
    report("front end killed (-9) while the disk is full", tally)
    assert tally.refused == 0
    wait_for(lambda: station.state.restarts == restarts + 1 and station.state.ready, "its record")
