"""marsmith/server/leftovers.py and `stop`, with `sleep` in the place of servers."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from marsmith.core.errors import ServerError
from marsmith.core.processes import identity
from marsmith.project.project import Project
from marsmith.server.leftovers import clear_crashed, end_leftovers, require_none_abandoned
from marsmith.server.lookup import find_server, stop_server
from marsmith.server.own_folder import OwnFolder
from marsmith.server.pinned_archives import store_of
from marsmith.server.state import ServerState, recorded_servers, server_folder, write_state
from tests.codes import coded
from tests.unit.server.states import GONE, tree


def abandoned(project: Project, state: ServerState, process: subprocess.Popen[bytes]) -> None:
    write_state(project, replace(state, supervisor=GONE, front_end=identity(process.pid)))


def crashed(project: Project, state: ServerState) -> ServerState:
    left = replace(state, supervisor=GONE, front_end=GONE)
    write_state(project, left)
    return left


def test_an_abandoned_server_is_ended_and_leaves_nothing(
    tiny: Project, state: ServerState, process: subprocess.Popen[bytes]
) -> None:
    abandoned(tiny, state, process)
    with pytest.raises(ServerError, check=coded("abandoned")):
        require_none_abandoned(tiny, 9000)
    clear_crashed(tiny, 9000)  # serve does not end what still runs
    assert process.poll() is None
    stop_server(tiny)
    assert process.poll() is not None
    assert not Path(state.folder).exists()
    assert recorded_servers(tiny) == []


def test_busy_workers_of_a_killed_server_are_ended(
    tiny: Project, state: ServerState, folder: OwnFolder
) -> None:
    crashed(tiny, state)
    environment = os.environ | {"TMPDIR": str(folder.path)}
    with subprocess.Popen(["sleep", "60"], env=environment) as worker:
        stop_server(tiny, 9000)
        assert worker.wait(10) < 0


@pytest.mark.parametrize("remove", ["stop", "serve"])
def test_what_a_crashed_server_left_is_removed(
    tiny: Project, state: ServerState, remove: str
) -> None:
    crashed(tiny, state)
    pinned = store_of(tiny, 9000) / "tiny-0123.mar"
    pinned.touch()
    if remove == "stop":
        assert stop_server(tiny).port == 9000
    else:
        require_none_abandoned(tiny, 9000)
        clear_crashed(tiny, 9000)
    assert recorded_servers(tiny) == []
    assert not Path(state.folder).exists()
    assert not pinned.exists()


def test_several_crashed_servers_are_stopped_one_by_one(tiny: Project, state: ServerState) -> None:
    for port in (9000, 9001):
        crashed(tiny, replace(state, port=port))
    with pytest.raises(ServerError, check=coded("several-servers")):
        stop_server(tiny)
    assert stop_server(tiny, 9001).port == 9001
    assert [one.port for one in recorded_servers(tiny)] == [9000]


def test_a_crashed_server_is_not_one_to_ask(tiny: Project, state: ServerState) -> None:
    crashed(tiny, state)
    with pytest.raises(ServerError, check=coded("no-server")):
        find_server(tiny)


def test_a_process_that_only_has_the_pid_is_not_ended(
    tiny: Project, state: ServerState, process: subprocess.Popen[bytes]
) -> None:
    pid, started = identity(process.pid)
    end_leftovers(tiny, replace(state, supervisor=GONE, front_end=(pid, started - 1000)))
    assert process.poll() is None


def test_a_process_outside_of_the_folder_is_not_ended(tiny: Project, state: ServerState) -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as other:
        end_leftovers(tiny, replace(state, supervisor=GONE, front_end=identity(other.pid)))
        assert other.poll() is None
        other.kill()


# A record as a checkout of somebody else may bring it.
FORGED = {
    "another boot": {"system": "7dd1/1"},
    "another nonce": {"nonce": "f" * 32},
    "another's folder": {"folder": "{victim}"},
    "the temporary folder": {"folder": "{tmp}"},
    "a newer format": {"format": 99},
    "another machine's address": {"system": "7dd1/1", "url": "http://192.0.2.1:80"},
}


@pytest.mark.parametrize("changed", FORGED.values(), ids=FORGED)
def test_a_forged_record_does_nothing(
    tiny: Project,
    state: ServerState,
    temporary_folder: Path,
    changed: dict[str, object],
) -> None:
    victim = temporary_folder / "marsmith-thesis"
    (victim / "data").mkdir(parents=True)
    victim.chmod(0o700)
    places = {"{victim}": str(victim), "{tmp}": str(temporary_folder)}
    with subprocess.Popen(["sleep", "60"], start_new_session=True, cwd=victim) as process:
        known = list(identity(process.pid))
        write_state(tiny, state)
        path = server_folder(tiny, 9000) / "state.json"
        values = json.loads(path.read_text()) | {"supervisor": known, "front_end": known}
        values |= {key: places.get(str(one), one) for key, one in changed.items()}
        path.write_text(json.dumps(values))
        before = tree(tiny.root, temporary_folder)
        for port in (None, 9000):
            with pytest.raises(ServerError, check=coded("unknown-state")):
                stop_server(tiny, port)
            with pytest.raises(ServerError, check=coded("unknown-state")):
                find_server(tiny, port)
        require_none_abandoned(tiny, 9000)
        clear_crashed(tiny, 9000)
        assert process.poll() is None
        assert tree(tiny.root, temporary_folder) == before
        process.kill()
