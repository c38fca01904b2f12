"""What is killed (-9) leaves nothing that hinders; looking at what is left changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from marsmith.project.project import Project
from marsmith.server.change_journal import unfinished_change
from marsmith.server.pinned_archives import store_of
from marsmith.torchserve.ports import free_ports
from tests.integration.kit import BIN, Kit, leftovers, wait_for
from tests.integration.test_deploy import Server, make, serve
from tests.projects import copy_echo
from tests.unit.server.states import tree

LOOKS = (
    "status",
    "status --json",
    "status --interval 0.2",
    "top",
    "logs",
    "logs echo --tail 1",
    "versions",
    "models",
    "predict echo {root}/archives.toml",
    "token",
    "build --list",
    "run echo {root}/archives.toml",
    "inspect {root}/model_store/echo.mar",
    "inspect echo",
    "check echo",
    "bill echo",
    "diff {root}/model_store/echo.mar {root}/model_store/echo.mar",
)


def _state(kit: Kit, port: int) -> Path:
    return kit.root / f".marsmith/servers/{port}/state.json"


def _looks_at(kit: Kit, temporary: Path) -> dict[str, int]:
    """Run each read-only command, and return its exit status; nothing may have changed."""
    found = {}
    # What a server writes itself while it is asked.
    own = (".log", "routes.json", "/state.json")

    def now() -> dict[str, tuple[object, ...]]:
        all_of_it = tree(kit.root, temporary)
        return {name: one for name, one in all_of_it.items() if not name.endswith(own)}

    for words in LOOKS:
        before = now()
        found[words] = kit(*words.format(root=kit.root).split(), check=False).returncode
        after = now()
        changed = {name for name in before | after if before.get(name) != after.get(name)}
        # A folder's own times change with what was in it for a moment.
        assert {name for name in changed if not Path(name).is_dir()} == set(), words
        assert before.keys() == after.keys(), words
    return found


@pytest.fixture
def echo(tmp_path: Path, temporary_folder: Path) -> Iterator[tuple[Kit, int]]:
    kit = copy_echo(tmp_path)
    port = free_ports(5)
    yield kit, port
    kit("stop", "--port", port, check=False)
    assert leftovers(f"{tmp_path}/") == []
    assert list(temporary_folder.glob("marsmith-*")) == []


def test_looking_changes_nothing(echo: tuple[Kit, int], temporary_folder: Path) -> None:
    kit, port = echo
    missing = _looks_at(kit, temporary_folder)
    assert not (kit.root / ".marsmith/servers").exists()
    assert missing["status"] == 0
    assert missing["versions"] == missing["logs"] == missing["token"] == 1

    kit("serve", "--background", "--secure", "--port", port)
    healthy = _looks_at(kit, temporary_folder)
    assert [words for words, status in healthy.items() if status] == []
    for path in _state(kit, port).parent.iterdir():
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path

    # As from a container that has the same files.
    unshare = ["unshare", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode == 0:
        before = tree(kit.root, temporary_folder)
        command: list[str | Path] = [*unshare, BIN / "marsmith", "--project", kit.root]
        listed = subprocess.run([*command, "status", "--json"], check=True, capture_output=True)
        assert json.loads(listed.stdout)[0]["state"] == "unknown"
        stopped = subprocess.run([*command, "stop"], check=False, capture_output=True, text=True)
        assert "error[unknown-state]" in stopped.stderr
        assert tree(kit.root, temporary_folder) == before
    assert kit.json("status")[0]["state"].startswith(("ready", "started"))

    (state,) = kit.json("status")
    os.kill(state["pid"], signal.SIGKILL)
    wait_for(lambda: bool(kit.json("status")[0]["state"] == "abandoned"), "it to be abandoned")
    abandoned = _looks_at(kit, temporary_folder)
    assert abandoned["predict echo {root}/archives.toml"] == 0
    os.kill(state["front_end_pid"], signal.SIGKILL)
    wait_for(lambda: bool(kit.json("status")[0]["state"] == "crashed"), "it to have crashed")
    crashed = _looks_at(kit, temporary_folder)
    assert crashed["logs"] == 0
    assert crashed["models"] == 1
    assert Path(state["folder"]).exists()

    values = json.loads(_state(kit, port).read_text())
    _state(kit, port).write_text(json.dumps(values | {"nonce": "0" * 32}))  # forged
    assert kit.json("status")[0]["state"] == "unknown"
    _looks_at(kit, temporary_folder)
    _state(kit, port).write_text(json.dumps(values))
    kit("serve", "--background", "--port", port)  # removes what was left
    assert not Path(state["folder"]).exists()
    assert kit.json("status")[0]["state"].startswith(("ready", "started"))


@pytest.mark.parametrize("pause", [0.0, 0.1, 0.5])
def test_a_start_that_is_killed_leaves_no_torchserve_that_nobody_knows(
    echo: tuple[Kit, int], temporary_folder: Path, pause: float
) -> None:
    kit, port = echo
    process = kit.start("serve", "--port", port)
    wait_for(_state(kit, port).exists, "the record")
    time.sleep(pause)
    process.kill()
    process.communicate()
    (state,) = kit.json("status")
    assert state["state"] in ("abandoned", "crashed")
    time.sleep(0.2)  # for a process that was just being started
    kit("stop")
    assert leftovers(str(temporary_folder)) == []
    assert kit.json("status") == []
    assert list(temporary_folder.glob("marsmith-*")) == []


@pytest.mark.parametrize("removed", ["", "python", "models", "key_file.json"])
def test_a_folder_that_was_cleaned_heals(echo: tuple[Kit, int], removed: str) -> None:
    kit, port = echo
    kit("serve", "--background", "--secure", "--port", port)
    (before,) = kit.json("status")
    path = Path(before["folder"], removed)
    shutil.rmtree(path) if path.is_dir() else path.unlink()

    def healed() -> bool:
        (now,) = kit.json("status")
        return bool(now["state"].startswith(("ready", "started")) and now["restarts"] == 1)

    wait_for(healed, "TorchServe to be restarted")
    assert kit.json("predict", "echo", kit.root / "archives.toml")[0]["status"] == 200
    assert kit.json("status")[0]["front_end_pid"] != before["front_end_pid"]
    assert f"{path} was removed" in kit("logs").stdout
    assert path.exists()
    time.sleep(3)  # it must not go on
    assert healed()


def test_a_background_start_that_is_stopped_ends_as_one_in_the_foreground(
    echo: tuple[Kit, int],
) -> None:
    kit, port = echo
    for options in ([], ["--background"]):
        process = kit.start("serve", *options, "--port", port)
        wait_for(_state(kit, port).exists, "the record")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 130, options
        assert kit.json("status") == []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = serve(tmp_path_factory.mktemp("killed"), "--secure")
    yield server
    server.kit("stop", "--port", server.port, check=False)
    assert leftovers(f"{server.kit.root}/") == []


def _killed_at(server: Server, command: tuple[str, ...], step: str) -> None:
    process = server.kit.start(*command, "--port", server.port)
    assert process.stderr is not None
    for line in process.stderr:
        if step in line:
            break
    else:
        raise AssertionError(f"there is no step {step!r}")
    psutil.Process(process.pid).kill()
    process.communicate()


@pytest.mark.parametrize("step", ["copy ", "register ", "load ", "replay ", "make echo "])
def test_a_deployment_that_is_killed_does_not_hinder_the_next(server: Server, step: str) -> None:
    version = f"2-{step.split()[0]}"
    made = make(server.kit, version, initialize="import time; time.sleep(1)")
    (before,) = [one for one in server.outline() if one[1]]
    _killed_at(server, ("deploy", str(made), "--no-check"), step)
    time.sleep(2.5)  # for the supervisor to have looked
    with server.asking() as asking:
        server.kit("deploy", made, "--no-check", "--keep", "0", "--port", server.port)
        wait_for(lambda: asking.versions[version] > 5, "the new version to answer")
    assert (asking.wrong, asking.lost) == ([], [])
    assert server.outline() == [(version, True, before[2])]
    (file,) = [name for name in server.files() if name.endswith(".mar") and "echo-" in name]
    assert file.startswith("echo-")


def test_a_server_that_is_killed_with_its_deployment_starts_with_what_it_served(
    server: Server,
) -> None:
    # Deployed, so that it is served again whatever is in the model store.
    server.kit("deploy", make(server.kit, f"3-{time.time_ns()}"), "--port", server.port)
    before = server.outline()
    made = make(server.kit, "4.0", initialize="import time; time.sleep(1)")
    _killed_at(server, ("deploy", str(made), "--no-check"), "load ")
    time.sleep(2.5)  # for the supervisor to have looked
    server.kit("stop", "--port", server.port)
    half = store_of(Project(server.kit.root), server.port) / ".echo-0123.mar.4567.tmp"
    half.touch()
    server.kit("serve", "--background", "--secure", "--port", server.port)
    assert server.outline() == before
    assert not half.exists()


@pytest.mark.parametrize("step", ["start the workers", "replay ", "make echo ", "drain "])
@pytest.mark.parametrize("healed_by", ["rollback", "restart"])
def test_a_rollback_that_is_killed_is_undone(server: Server, step: str, healed_by: str) -> None:
    kit, port = server.kit, ("--port", str(server.port))
    first, second = (f"{n}-{time.time_ns()}" for n in (5, 6))
    kit("deploy", make(kit, first, initialize="import time; time.sleep(1)"), "--no-check", *port)
    kit("deploy", make(kit, second, handle="time.sleep(0.3)"), "--no-check", *port)
    before = server.outline()
    with server.asking(attempts=60) as asking:  # for the drain to take its time
        _killed_at(server, ("rollback", "echo"), step)
        time.sleep(2.5)  # for the supervisor to have looked
        if healed_by == "rollback":
            kit("rollback", "echo", *port)
            after = [(first, True, 1), (second, False, 0)]
    if healed_by == "restart":
        kit("stop", *port)
        kit("serve", "--background", "--secure", *port)
        after = before
    else:
        assert asking.lost == []
    assert asking.wrong == []
    assert server.outline() == after
    assert unfinished_change(Project(kit.root), server.port) is None
