"""marsmith/server/state.py, with `sleep` in the place of servers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from marsmith.core.processes import identity
from marsmith.project.project import Project
from marsmith.server.own_folder import OwnFolder
from marsmith.server.state import (
    NOT_STARTED,
    ServerState,
    UnknownState,
    forget_state,
    recorded_server,
    recorded_servers,
    running_servers,
    server_folder,
    write_state,
)
from tests.unit.server.states import GONE, tree


def record(project: Project, port: int = 9000) -> Path:
    return server_folder(project, port) / "state.json"


def change(project: Project, **values: object) -> None:
    """Change a record, as somebody else could."""
    path = record(project)
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def condition(state: ServerState) -> str:
    """Return it anew, for mypy too."""
    return state.condition


def is_unknown(project: Project) -> bool:
    """Whether the one record is shown as unknown, and looking at it changed nothing."""
    before = tree(project.root)
    (found,) = recorded_servers(project)
    assert running_servers(project) == []
    assert tree(project.root) == before
    return isinstance(found, UnknownState) and found.file == record(project)


# ---- as it was written


def test_a_running_server_reads_back_as_it_was_written(tiny: Project, state: ServerState) -> None:
    write_state(tiny, state)
    assert running_servers(tiny) == [state]
    assert condition(state) == "running"
    assert [path.name for path in server_folder(tiny, 9000).iterdir()] == ["state.json"]
    assert record(tiny).stat().st_mode & 0o777 == 0o600


def test_a_project_without_servers_has_none_and_makes_no_folder(tiny: Project) -> None:
    assert recorded_servers(tiny) == []
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
    assert recorded_servers(tiny) == []
    assert (server_folder(tiny, 9000) / "workers.log").read_text() == "kept"


def test_what_a_newer_marsmith_added_is_passed_by_and_kept(
    tiny: Project, state: ServerState
) -> None:
    write_state(tiny, state)
    change(tiny, colour="new")
    assert running_servers(tiny) == [state]
    write_state(tiny, replace(state, restarts=3))
    values = json.loads(record(tiny).read_text())
    assert (values["colour"], values["restarts"]) == ("new", 3)


def test_what_another_server_recorded_is_not_kept(tiny: Project, state: ServerState) -> None:
    write_state(tiny, state)
    change(tiny, colour="new", nonce="another")
    write_state(tiny, state)
    assert "colour" not in json.loads(record(tiny).read_text())


def test_a_record_does_not_show_its_nonce(state: ServerState) -> None:
    assert state.nonce not in repr(state)


# ---- processes


def test_a_server_whose_processes_are_gone_has_crashed(tiny: Project, state: ServerState) -> None:
    crashed = replace(state, supervisor=GONE, front_end=GONE)
    write_state(tiny, crashed)
    before = tree(tiny.root, Path(state.folder))
    assert running_servers(tiny) == []
    assert recorded_server(tiny, 9000) == crashed
    assert condition(crashed) == "crashed"
    assert tree(tiny.root, Path(state.folder)) == before


def test_a_server_that_is_gone_with_its_folder_has_crashed(
    tiny: Project, state: ServerState
) -> None:
    crashed = replace(state, supervisor=GONE, front_end=GONE)
    write_state(tiny, crashed)
    shutil.rmtree(state.folder)
    assert recorded_server(tiny, 9000) == crashed
    assert condition(crashed) == "crashed"


def test_another_process_with_the_same_pid_is_not_the_server(state: ServerState) -> None:
    pid, started = identity(os.getpid())
    earlier = (pid, started - 1000)
    assert condition(replace(state, supervisor=earlier, front_end=earlier)) == "crashed"


def test_a_process_that_has_nothing_to_do_with_the_folder_is_not_the_server(
    state: ServerState,
) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        known = identity(other.pid)
        assert condition(replace(state, supervisor=known, front_end=known)) == "crashed"
        other.kill()


def test_a_process_that_ended_but_was_not_waited_for_is_gone(
    state: ServerState, process: subprocess.Popen[bytes]
) -> None:
    known = identity(process.pid)
    ended = replace(state, supervisor=known, front_end=known)
    assert condition(ended) == "running"
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE
    assert condition(ended) == "crashed"


def test_a_server_whose_supervisor_was_killed_is_abandoned(
    tiny: Project, state: ServerState, process: subprocess.Popen[bytes]
) -> None:
    left = replace(state, supervisor=GONE, front_end=identity(process.pid))
    write_state(tiny, left)
    assert running_servers(tiny) == [left]
    assert left.abandoned


def test_a_front_end_that_was_not_recorded_yet_is_found_by_its_folder(
    state: ServerState, folder: OwnFolder
) -> None:
    left = replace(state, supervisor=GONE, front_end=NOT_STARTED)
    assert condition(left) == "crashed"
    environment = os.environ | {"TMPDIR": str(folder.path)}
    with subprocess.Popen(["sleep", "60"], env=environment) as front_end:
        assert condition(left) == "abandoned"
        front_end.kill()


def test_a_server_whose_supervisor_lives_is_kept_while_torchserve_ends(
    tiny: Project, state: ServerState
) -> None:
    ending = replace(state, front_end=GONE)
    write_state(tiny, ending)
    assert running_servers(tiny) == [ending]


# ---- what cannot be judged


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "{}", '{"port": 1}', "[" * 100_000, "\x00", '"9000"', "7"]
)
def test_a_record_that_cannot_be_read_is_unknown(tiny: Project, text: str) -> None:
    record(tiny).write_text(text)
    assert is_unknown(tiny)


@pytest.mark.parametrize(
    "changed",
    [
        {"supervisor": [1]},
        {"supervisor": ["a", "b"]},
        {"front_end": [None, None]},
        {"front_end": [float("inf"), 1.0]},
        {"port": 9001},
        {"folder": None},
        {"folder": "/var/marsmith-\x00"},
        {"nonce": ""},
        {"nonce": 7},
        {"nonce": "0" * 32},
        {"url": ["http://127.0.0.1"]},
        {"format": "1"},
        {"format": 2},
        {"system": "another-boot/4026531836"},
        {"system": None},
        {"folder": "/"},
        {"folder": "/var"},
        {"folder": "."},
    ],
    ids=str,
)
def test_a_record_that_does_not_fit_this_place_is_unknown(
    tiny: Project, state: ServerState, changed: dict[str, object]
) -> None:
    write_state(tiny, state)
    change(tiny, **changed)
    assert is_unknown(tiny)


@pytest.mark.parametrize("pid", [-1, 0, 2**31, 2**70])
def test_a_record_of_no_process_is_of_no_running_server(
    tiny: Project, state: ServerState, pid: int
) -> None:
    write_state(tiny, state)
    change(tiny, supervisor=[pid, 0.0], front_end=[pid, 0.0])
    assert running_servers(tiny) == []


def test_another_pid_namespace_or_boot_is_unknown(tiny: Project, state: ServerState) -> None:
    boot, _, namespace = state.system.rpartition("/")
    for system in (f"{boot}/{int(namespace) + 1}", f"{boot[::-1]}/{namespace}", "laptop/17"):
        write_state(tiny, replace(state, system=system))
        assert is_unknown(tiny)


def test_a_missing_field_is_unknown(tiny: Project, state: ServerState) -> None:
    write_state(tiny, state)
    values = json.loads(record(tiny).read_text())
    for name in ("nonce", "system", "folder", "supervisor", "models", "ready"):
        record(tiny).write_text(json.dumps({k: v for k, v in values.items() if k != name}))
        assert is_unknown(tiny)


def test_a_folder_that_is_gone_while_processes_live_is_unknown(
    tiny: Project, state: ServerState
) -> None:
    write_state(tiny, state)
    shutil.rmtree(state.folder)
    assert is_unknown(tiny)


def test_a_record_that_is_no_regular_file_is_unknown(
    tiny: Project, state: ServerState, tmp_path: Path
) -> None:
    write_state(tiny, state)
    copy = tmp_path / "copy"
    record(tiny).rename(copy)
    record(tiny).symlink_to(copy)
    assert is_unknown(tiny)
    record(tiny).unlink()
    os.mkfifo(record(tiny))  # reading it would wait for ever
    (found,) = recorded_servers(tiny)
    assert isinstance(found, UnknownState)


def test_a_record_too_large_to_be_one_is_unknown(tiny: Project, state: ServerState) -> None:
    write_state(tiny, state)
    with record(tiny).open("ab") as file:
        file.truncate(1 << 40)
    (found,) = recorded_servers(tiny)
    assert isinstance(found, UnknownState)


def test_folders_that_name_no_port_are_passed_by(tiny: Project, state: ServerState) -> None:
    write_state(tiny, state)
    for name in ("x", "-1", "9000.old", "..."):
        shutil.copytree(server_folder(tiny, 9000), tiny.root / ".marsmith/servers" / name)
    assert running_servers(tiny) == [state]
