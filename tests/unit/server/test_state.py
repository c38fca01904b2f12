"""marsmith/server/state.py, with `sleep` in the place of servers."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from marsmith.core.processes import identity
from marsmith.project.project import Project
from marsmith.server.state import (
    ServerState,
    end_abandoned,
    forget_state,
    running_servers,
    server_folder,
    write_state,
)
from tests.unit.conftest import MakeProject

GONE = (2**22 - 1, 1.0)  # as good as no process ever


@pytest.fixture
def tiny(project: MakeProject) -> Project:
    return project()


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as running:
        try:
            yield running
        finally:
            running.kill()


@pytest.fixture
def state(tmp_path: Path) -> ServerState:
    """A server whose `marsmith serve` and TorchServe are both this test's own process."""
    here = identity(os.getpid())
    (tmp_path / "marsmith-served").mkdir()
    return ServerState(
        port=9000,
        url="http://127.0.0.1:9000",
        management_url="http://127.0.0.1:9001",
        metrics_url="http://127.0.0.1:9002",
        models=["tiny"],
        unproven=[],
        ready=True,
        since=1.5,
        supervisor=here,
        front_end=here,
        folder=str(tmp_path / "marsmith-served"),
        secure=True,
        certificate="/tls/server.pem",
        warnings=["other machines reach it"],
    )


def record(project: Project, port: int = 9000) -> Path:
    return server_folder(project, port) / "state.json"


def test_a_running_server_reads_back_as_it_was_written(tiny: Project, state: ServerState) -> None:
    write_state(tiny, state)
    assert running_servers(tiny) == [state]
    assert not state.abandoned
    assert [path.name for path in server_folder(tiny, 9000).iterdir()] == ["state.json"]


def test_a_project_without_servers_has_none_and_makes_no_folder(tiny: Project) -> None:
    assert running_servers(tiny) == []
    assert not (tiny.root / ".marsmith").exists()


def test_servers_come_in_order_of_their_ports(tiny: Project, state: ServerState) -> None:
    for port in (9000, 20000, 100):
        write_state(tiny, replace(state, port=port))
    assert [found.port for found in running_servers(tiny)] == [100, 9000, 20000]


def test_a_later_record_replaces_the_earlier_one(tiny: Project, state: ServerState) -> None:
    write_state(tiny, replace(state, ready=False))
    write_state(tiny, state)
    assert [found.ready for found in running_servers(tiny)] == [True]


def test_a_forgotten_server_keeps_its_logs(tiny: Project, state: ServerState) -> None:
    write_state(tiny, state)
    (server_folder(tiny, 9000) / "workers.log").write_text("kept")
    forget_state(tiny, 9000)
    forget_state(tiny, 9000)
    assert running_servers(tiny) == []
    assert (server_folder(tiny, 9000) / "workers.log").read_text() == "kept"


def test_a_server_whose_processes_are_gone_is_forgotten_with_its_folder(
    tiny: Project, state: ServerState
) -> None:
    write_state(tiny, replace(state, supervisor=GONE, front_end=GONE))
    assert running_servers(tiny) == []
    assert not record(tiny).exists()
    assert not Path(state.folder).exists()


def test_another_process_with_the_same_pid_is_not_the_server(
    tiny: Project, state: ServerState
) -> None:
    pid, started = identity(os.getpid())
    earlier = (pid, started - 1000)
    write_state(tiny, replace(state, supervisor=earlier, front_end=earlier))
    assert running_servers(tiny) == []


def test_a_process_that_ended_but_was_not_waited_for_is_gone(
    tiny: Project, state: ServerState, process: subprocess.Popen[bytes]
) -> None:
    known = identity(process.pid)
    write_state(tiny, replace(state, supervisor=known, front_end=known))
    assert len(running_servers(tiny)) == 1
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE
    assert running_servers(tiny) == []


def test_a_server_whose_supervisor_was_killed_is_abandoned(
    tiny: Project, state: ServerState, process: subprocess.Popen[bytes]
) -> None:
    left = replace(state, supervisor=GONE, front_end=identity(process.pid))
    write_state(tiny, left)
    assert running_servers(tiny) == [left]
    assert left.abandoned


def test_a_server_whose_supervisor_lives_is_kept_while_torchserve_ends(
    tiny: Project, state: ServerState
) -> None:
    ending = replace(state, front_end=GONE)
    write_state(tiny, ending)
    assert running_servers(tiny) == [ending]


def test_an_abandoned_server_is_ended_and_leaves_nothing(
    tiny: Project, state: ServerState, process: subprocess.Popen[bytes]
) -> None:
    left = replace(state, supervisor=GONE, front_end=identity(process.pid))
    write_state(tiny, left)
    end_abandoned(tiny, left)
    assert process.poll() is not None
    assert not Path(state.folder).exists()
    assert running_servers(tiny) == []


def test_a_process_that_only_has_the_pid_is_not_ended(
    tiny: Project, state: ServerState, process: subprocess.Popen[bytes]
) -> None:
    pid, started = identity(process.pid)
    end_abandoned(tiny, replace(state, supervisor=GONE, front_end=(pid, started - 1000)))
    assert process.poll() is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"port": 1}'])
def test_a_record_that_cannot_be_read_is_removed(tiny: Project, text: str) -> None:
    record(tiny).write_text(text)
    assert running_servers(tiny) == []
    assert not record(tiny).exists()


@pytest.mark.parametrize("identity", [[1], ["a", "b"], [-1, 0.0], [None, None]])
def test_a_record_of_no_process_is_removed(
    tiny: Project, state: ServerState, identity: list[object]
) -> None:
    write_state(tiny, state)
    values = json.loads(record(tiny).read_text())
    record(tiny).write_text(json.dumps(values | {"supervisor": identity, "front_end": identity}))
    assert running_servers(tiny) == []
    assert not record(tiny).exists()
