"""What was verified and checked is what runs, whatever happens to files meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import signal
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from marsmith.project.project import Project
from marsmith.server.lookup import find_server
from marsmith.torchserve.ports import free_ports
from tests.integration.kit import ROOT, Kit, wait_for
from tests.integration.test_deploy import Server, make


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    kit = Kit(tmp_path)
    kit.write("config.properties", (ROOT / "config.properties").read_text())
    yield kit
    for state in kit.json("status"):
        kit("stop", "--port", state["port"])


def start(kit: Kit, *options: str | Path) -> Server:
    """Serve version 1.0 from the model store."""
    shutil.copy(make(kit, "1.0"), kit.root / "model_store/echo.mar")
    server = Server(kit, free_ports(5))
    kit("serve", "echo", "--background", "--secure", "--port", server.port, *options)
    return server


def alter(server: Server, version: str) -> None:
    """Put code of an attacker's into a server's own copy of a version, which only its user can."""
    (found,) = [one for one in server.versions() if one["version"] == version]
    copy = server.kit.root / f".marsmith/servers/{server.port}/archives" / found["file"]
    content = copy.read_bytes()
    copy.chmod(0o600)
    copy.write_bytes(content.replace(b"time.sleep(0.005)", b"exit_of(0.00005) "))
    assert copy.read_bytes() != content


def test_an_archive_that_is_swapped_during_the_check_is_not_deployed(kit: Kit) -> None:
    server = start(kit)
    given, evil = make(kit, "2.0"), make(kit, "2.0-evil")
    shutil.copy(evil, kit.root / "evil")
    good = make(kit, "2.0").read_bytes()
    given.write_bytes(good)
    deploying = kit.start("deploy", str(given), "--port", server.port)
    assert deploying.stderr is not None
    for line in deploying.stderr:
        if line.startswith("check"):
            (kit.root / "evil").replace(given)
            break
    deploying.communicate(timeout=120)
    assert deploying.returncode == 0
    assert server.outline() == [("1.0", False, 0), ("2.0", True, 1)]
    (default,) = [one for one in server.versions() if one["default"]]
    (kit.root / "good").write_bytes(good)
    assert kit.json("inspect", kit.root / "good")["sha256"] == default["sha256"]


def test_a_copy_that_was_altered_is_not_started_again(kit: Kit) -> None:
    server = start(kit)
    alter(server, "1.0")
    os.kill(server.state.front_end[0], signal.SIGKILL)
    log = kit.root / f".marsmith/servers/{server.port}/serve.log"
    wait_for(lambda: "error[deployed-file-changed]" in log.read_text(), "the server to end")
    wait_for(lambda: kit.json("status") == [], "its state to go")
    kit("serve", "echo", "--background", "--secure", "--port", server.port)  # a new copy
    assert server.outline() == [("1.0", True, 1)]


def test_a_rollback_to_an_altered_version_changes_nothing(kit: Kit) -> None:
    server = start(kit)
    kit("deploy", make(kit, "2.0"), "--no-check", "--port", server.port)
    alter(server, "1.0")
    refused = kit("rollback", "echo", "--port", server.port, check=False)
    assert "error[deployed-file-changed]" in refused.stderr
    assert server.outline() == [("1.0", False, 0), ("2.0", True, 1)]


def test_versions_shows_no_digest_of_other_bytes(kit: Kit) -> None:
    server = start(kit)
    (before,) = server.versions()
    make(kit, "1.0", top="# other").rename(kit.root / "model_store/echo.mar")
    assert server.versions() == [before]
    make(kit, "2.0").rename(kit.root / "model_store/two.mar")
    with server.client() as client:

        def registered() -> bool:
            client.register("two.mar", model_name="echo", initial_workers=1, synchronous=True)
            return True

        wait_for(lambda: (store(server) / "two.mar").exists(), "it to be offered")
        assert registered()
    assert [one["sha256"] for one in server.versions()] == [before["sha256"], ""]


def store(server: Server) -> Path:
    return server.kit.root / f".marsmith/servers/{server.port}/archives"


@pytest.fixture
def key(kit: Kit) -> Path:
    kit("new-key", kit.root / "team")
    return kit.root / "team"


def test_what_was_deployed_unsigned_is_refused_with_a_way_on(kit: Kit, key: Path) -> None:
    server = start(kit)
    kit("deploy", make(kit, "2.0"), "--no-check", "--port", server.port)
    kit("stop", "--port", server.port)
    shutil.copy(kit.root / "made/echo-1.0.mar", kit.root / "model_store/echo.mar")
    require = ("--require-signature", key.with_suffix(".pub"))
    words = ("serve", "echo", "--background", "--secure", "--port", server.port, *require)
    refused = kit(*words, check=False)
    assert refused.returncode == 1
    assert "[unsigned]" in refused.stdout + refused.stderr
    assert "--fresh" in refused.stdout + refused.stderr
    kit("sign", "echo", "--key", key.with_suffix(".key"))
    kit(*words, "--fresh")
    (served,) = server.versions()
    assert (served["version"], bool(served["signed_by"])) == ("1.0", True)


def test_where_signatures_are_required_nothing_else_is_offered_or_brought_back(
    kit: Kit, key: Path
) -> None:
    made = make(kit, "1.0")
    shutil.copy(made, kit.root / "model_store/echo.mar")
    shutil.copy(made, kit.root / "model_store/other.mar")
    kit("sign", "echo", "--key", key.with_suffix(".key"))
    server = Server(kit, free_ports(5))
    require = ("--require-signature", key.with_suffix(".pub"))
    kit("serve", "echo", "--background", "--secure", "--port", server.port, *require)
    assert not (store(server) / "other.mar").exists()
    shutil.copy(make(kit, "3.0"), store(server) / "planted.mar")  # only its user can
    with server.client() as client:
        client.register("planted.mar", model_name="echo", initial_workers=1, synchronous=True)
    wait_for(lambda: len(record(server)) == 2, "it to be recorded")
    os.kill(server.state.front_end[0], signal.SIGKILL)
    wait_for(lambda: server.state.restarts == 1 and server.state.ready, "it to be back")
    assert [one["version"] for one in server.versions()] == ["1.0"]


def record(server: Server) -> list[dict[str, str]]:
    path = server.kit.root / f".marsmith/servers/{server.port}/versions.json"
    found: list[dict[str, str]] = json.loads(path.read_text())
    return found


def test_a_new_model_that_does_not_say_how_many_workers_gets_one(kit: Kit) -> None:
    server = start(kit)
    made = make(kit, "1.0")
    fresh = kit.root / "fresh.mar"
    with zipfile.ZipFile(made) as old, zipfile.ZipFile(fresh, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "MAR-INF/MANIFEST.json":
                content = content.replace(b'"modelName": "echo"', b'"modelName": "fresh"')
            if name == "model-config.yaml":
                content = b"batchSize: 4\nmaxWorkers: 3\n"
            new.writestr(name, content)
    kit("deploy", fresh, "--no-check", "--port", server.port)
    (version,) = kit.json("versions", "fresh", "--port", server.port)
    assert (version["min_workers"], version["max_workers"]) == (1, 3)
    assert find_server(Project(kit.root), server.port).port == server.port


def test_nothing_is_left_of_copies_that_nobody_needs(kit: Kit) -> None:
    server = start(kit)
    for version in ("2.0", "3.0"):
        kit("deploy", make(kit, version), "--no-check", "--port", server.port)
    assert server.files() == {one["file"] for one in server.versions()}  # --keep 1
    assert len(server.files()) == 2
    os.kill(server.state.supervisor[0], signal.SIGKILL)
    kit("stop", "--port", server.port)
    assert len(server.files()) == 2  # they were deployed
    shutil.copy(kit.root / "made/echo-1.0.mar", kit.root / "model_store/echo.mar")
    kit("serve", "--background", "--secure", "--fresh", "--port", server.port)
    assert server.files() == {one["file"] for one in server.versions()}
    kit("stop", "--port", server.port)
    assert server.files() == set()
