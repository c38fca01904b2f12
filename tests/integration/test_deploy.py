"""Versions come and go under load, and no request is lost; what fails leaves no trace."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from marsmith.client import Client, Retries
from marsmith.deploy.parking import can_park, parked
from marsmith.deploy.scaling import scale
from marsmith.project.project import Project
from marsmith.server.change_journal import begin_change, unfinished_change
from marsmith.server.held_workers import held
from marsmith.server.lookup import client_of, find_server
from marsmith.server.state import ServerState
from marsmith.server.version_record import default_of, read_record
from marsmith.torchserve.ports import free_ports
from marsmith.torchserve.worker_lines import TRACEBACK, model_lines
from tests.integration.asking import Asking
from tests.integration.kit import BIN, ROOT, Kit, leftovers, wait_for

HANDLER = """\
import itertools
import time
{top}
COUNT = itertools.count()


class Handler:
    def initialize(self, context):
        self.version = context.manifest["model"]["modelVersion"]
        {initialize}

    def handle(self, data, context):
        time.sleep(0.005)
        {handle}
        said = [bytes(row["body"]).decode() for row in data]
        return [{{"version": self.version, "said": one}} for one in said]
"""
SPEC = """\
[archives.echo]
version = "{version}"
handler = "handlers/echo.py"

[archives.echo.serving]
minWorkers = 1
maxWorkers = 1
batchSize = 4
maxBatchDelay = 1

[[archives.echo.samples]]
request = "samples/one.txt"
response = "samples/one.json"
"""
# What goes wrong only where it serves: that is what is left once `check` found nothing.
BROKEN: dict[str, tuple[dict[str, Any], str, str]] = {
    "import": ({"top": "import not_there"}, "model-not-loaded", "load echo"),
    "load": ({"initialize": "raise KeyError('size')"}, "model-not-loaded", "load echo"),
    "exit": ({"initialize": "import os; os._exit(3)"}, "model-not-loaded", "load echo"),
    "samples": ({"handle": "self.version = 'another'"}, "wrong-answer", "load echo"),
    "half": ({"handle": "assert next(COUNT) % 2 == 0"}, "wrong-answer", "replay the samples"),
}


def make(kit: Kit, version: str, *, request: str = "hello", **broken: str) -> Path:
    """Build `echo` in a version; return the file, set apart from the model store.

    `request` is its sample's; without one, it has no sample.
    """
    code = {"top": "", "initialize": "pass", "handle": "pass"} | broken
    kit.write("handlers/echo.py", HANDLER.format(**code))
    kit.write("samples/one.txt", request)
    kit.write("samples/one.json", json.dumps({"version": version, "said": request}))
    spec = SPEC.format(version=version)
    kit.write("archives.toml", spec if request else spec.partition("[[")[0])
    kit("build")
    made = kit.root / "made" / f"echo-{version}.mar"
    made.parent.mkdir(exist_ok=True)
    (kit.root / "model_store/echo.mar").rename(made)
    return made


class Server:
    """A running server of `echo`."""

    def __init__(self, kit: Kit, port: int) -> None:
        self.kit = kit
        self.port = port

    @property
    def state(self) -> ServerState:
        return find_server(Project(self.kit.root), self.port)

    def client(self) -> Client:
        return client_of(self.state)

    def asking(self, attempts: int = 4) -> Asking:
        client = client_of(self.state, 30.0, Retries(attempts=attempts))
        client._worker_patience = None  # they wait for workers that start, rather than be refused
        return Asking(client, "echo")

    def versions(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.kit.json("versions", "echo", "--port", self.port)
        return found

    def outline(self) -> list[tuple[str, bool, int]]:
        return [(one["version"], one["default"], one["min_workers"]) for one in self.versions()]

    def files(self) -> set[str]:
        """Return its own copies of archives."""
        folder = self.kit.root / f".marsmith/servers/{self.port}/archives"
        return {path.name for path in folder.iterdir() if not path.is_symlink()}


def serve(root: Path, *options: str, request: str = "hello") -> Server:
    kit = Kit(root)
    config = (ROOT / "config.properties").read_text()
    kit.write("config.properties", config)
    first = make(kit, "1.0", request=request)
    first.rename(root / "model_store/echo.mar")
    server = Server(kit, free_ports(5))
    kit("serve", "--background", "--port", server.port, *options)
    return server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server with tokens, for all tests that leave it as it was or move it on."""
    server = serve(tmp_path_factory.mktemp("deploy"), "--secure")
    yield server
    server.kit("stop", "--port", server.port, check=False)
    assert leftovers(f"{server.kit.root}/") == []


def test_deploy_rollback_and_undeploy_lose_no_request(server: Server) -> None:
    kit = server.kit
    second, third = make(kit, "2.0"), make(kit, "3.0")
    with server.asking() as asking:
        wait_for(lambda: asking.versions["1.0"] > 50, "the first version to answer")
        kit("deploy", second, "--port", server.port)
        assert server.outline() == [("1.0", False, 0), ("2.0", True, 1)]
        seen = asking.versions["1.0"]
        wait_for(lambda: asking.versions["2.0"] > 50, "the second version to answer")
        assert asking.versions["1.0"] == seen

        kit("rollback", "echo", "--port", server.port)
        assert server.outline() == [("1.0", True, 1), ("2.0", False, 0)]
        wait_for(lambda: asking.versions["1.0"] > seen + 50, "the first version to answer again")

        kit("deploy", third, "--port", server.port, "--workers", "2:2")
        assert server.outline() == [("1.0", False, 0), ("3.0", True, 2)]  # --keep 1
        refused = kit("undeploy", "echo", "3.0", "--port", server.port, check=False)
        assert refused.returncode == 1
        assert "error[default-version]" in refused.stderr
        kit("undeploy", "echo", "1.0", "--port", server.port)
        assert server.outline() == [("3.0", True, 2)]
        wait_for(lambda: asking.versions["3.0"] > 50, "the third version to answer")
    assert (asking.wrong, asking.lost) == ([], [])
    refused = kit("rollback", "echo", "--port", server.port, check=False)
    assert "error[no-earlier-version]" in refused.stderr
    hidden = {name for name in server.files() if not name.endswith(".sig")}
    assert hidden == {server.versions()[0]["file"]}


def test_scaling_again_and_again_refuses_no_request(server: Server) -> None:
    """Those who ask once, without retries, notice nothing either."""
    project = Project(server.kit.root)
    with server.asking(attempts=1) as asking:
        for turn in range(20):
            workers = (3, 2, 1, 2, 1)[turn % 5]
            scaled = scale(project, server.port, "echo", (workers, workers))
            assert scaled.ready_workers == workers
    assert (asking.wrong, asking.lost) == ([], [])
    assert asking.answered > 100
    assert not (Path(server.state.folder) / "park.sock").exists()


def test_what_scale_has_done_is_recorded_when_it_returns(server: Server) -> None:
    """A front end that dies right after it comes back with these workers."""
    project = Project(server.kit.root)
    for bounds in ((2, 3), (1, 1), (2, 2), (1, 1)):
        scale(project, server.port, "echo", bounds)
        recorded = default_of(read_record(project, server.port), "echo")
        assert recorded is not None
        assert (recorded.min_workers, recorded.max_workers) == bounds


def test_a_scale_after_a_change_that_was_killed_stays(server: Server) -> None:
    """The change is undone first: nothing undoes the scale with it."""
    project = Project(server.kit.root)
    begin_change(project, server.port, read_record(project, server.port))
    told: list[object] = []
    scale(project, server.port, "echo", (2, 2), told.append)
    assert len(told) == 1
    assert unfinished_change(project, server.port) is None
    scale(project, server.port, "echo", (1, 1), told.append)
    assert len(told) == 1


def test_workers_that_a_killed_scale_stopped_continue(server: Server) -> None:
    """`marsmith serve` lets them, if no other change does."""
    with server.client() as client:
        (model,) = (one for one in client.describe("echo") if one.default)
    (worker,) = (psutil.Process(one.pid) for one in model.workers)
    held(Path(server.state.folder), [worker.pid]).__enter__()  # and never left
    wait_for(lambda: worker.status() != psutil.STATUS_STOPPED, "it to continue", 10)
    with server.client() as client:
        assert client.predict("echo", b"x").ok


def test_parked_workers_are_let_go(server: Server) -> None:
    """As after a `marsmith scale` that failed or was killed: they answer again."""
    project = Project(server.kit.root)
    scale(project, server.port, "echo", (2, 2))
    with server.client() as client, server.asking(attempts=1) as asking:
        (model,) = (one for one in client.describe("echo") if one.default)
        first, second = (one.pid for one in model.workers)
        assert can_park(first)
        folder = Path(server.state.folder)
        with parked(folder, client, model, {first}, 30.0):
            seen = asking.answered
            wait_for(lambda: asking.answered > seen + 50, "the other worker to answer")
            assert client.describe("echo", model.version)[0].ready_workers == 2
        with parked(folder, client, model, {second}, 30.0):  # so that the first one must answer
            seen = asking.answered
            wait_for(lambda: asking.answered > seen + 50, "the first worker to answer again")
    assert (asking.wrong, asking.lost) == ([], [])
    scale(project, server.port, "echo", (1, 1))


def test_a_canary_without_a_gateway_says_how_to_start_one(server: Server) -> None:
    made, before = make(server.kit, "5.0"), server.outline()
    failed = server.kit("deploy", made, "--canary", "10%", "--port", server.port, check=False)
    assert "error[no-gateway]" in failed.stderr
    assert server.outline() == before


@pytest.mark.parametrize("case", BROKEN)
def test_what_fails_on_the_server_leaves_it_as_it_was(server: Server, case: str) -> None:
    broken, code, step = BROKEN[case]
    made = make(server.kit, f"9-{case}", **broken)
    before = server.versions(), server.files()
    with server.asking() as asking:
        failed = server.kit("deploy", made, "--no-check", "--port", server.port, check=False)
    assert failed.returncode == 1
    assert f"error[{code}]" in failed.stderr, failed.stderr
    assert f"'{step}" in failed.stderr.splitlines()[-2]  # the step that failed
    assert "  hint: " in failed.stderr
    assert (server.versions(), server.files()) == before
    assert asking.answered > 0
    assert (asking.wrong, asking.lost) == ([], [])


def test_a_version_that_fails_on_a_sample_of_the_one_before_is_refused(server: Server) -> None:
    worse = make(server.kit, "9-worse", request="bye", handle="assert data[0]['body'] == b'bye'")
    before = server.versions(), server.files()
    with server.asking() as asking:
        failed = server.kit("deploy", worse, "--port", server.port, check=False)
    assert failed.returncode == 1
    assert "error[worse-than-before]" in failed.stderr, failed.stderr
    assert "handlers/echo.py:14: AssertionError" in failed.stderr
    assert (server.versions(), server.files()) == before
    assert (asking.wrong, asking.lost) == ([], [])


def test_a_version_without_samples_is_compared_by_made_up_requests(tmp_path: Path) -> None:
    """The one before is not asked on the server: a request that it fails on is nobody's there."""
    server = serve(tmp_path, "--secure", request="")
    kit, port = server.kit, ("--port", server.port)
    text = "A cat sits on the mat."
    try:
        assert kit.json("status")[0]["state"] == "started, unproven"
        worse = make(kit, "2.0", request="", handle="raise KeyError('size')")
        with server.asking() as asking:
            failed = kit("deploy", worse, "--no-check", *port, check=False)
            assert "error[worse-than-before]" in failed.stderr, failed.stderr
            assert "handlers/echo.py:14: KeyError: 'size'" in failed.stderr
            assert server.outline() == [("1.0", True, 1)]
            refusing = (
                f"if data[0]['body'] == b'{text}':"
                " context.set_response_status(422, 'No', 0); return ['no cats']"
            )
            told = kit("deploy", make(kit, "3.0", request="", handle=refusing), *port).stderr
        assert "warning[request-refused]" in told
        assert "warning[no-sample]" in told
        assert (asking.wrong, asking.lost) == ([], [])
        assert server.outline() == [("1.0", False, 0), ("3.0", True, 1)]
    finally:
        kit("stop", *port)
    log = (tmp_path / f".marsmith/servers/{server.port}/workers.log").read_text()
    assert TRACEBACK in model_lines(log, "echo", "2.0")
    assert TRACEBACK not in model_lines(log, "echo", "1.0")


def test_what_check_finds_never_reaches_the_server(server: Server) -> None:
    made = make(server.kit, "9-checked", initialize="raise KeyError('size')")
    before = server.versions(), server.files()
    failed = server.kit("deploy", made, "--port", server.port, check=False)
    assert "error[findings]" in failed.stderr
    assert "KeyError: 'size'" in failed.stderr
    assert not [line for line in failed.stderr.splitlines() if line.startswith("register ")]
    assert (server.versions(), server.files()) == before


def test_workers_of_the_new_version_that_die_while_the_old_one_drains_lose_nothing(
    server: Server,
) -> None:
    """What they were asked for meanwhile waits in TorchServe's queue, which forgets it unanswered
    if the version is unregistered: so the way back waits for a worker."""
    before = server.outline(), server.files()
    made = make(server.kit, "9-killed", handle="time.sleep(0.3)")
    with server.asking() as asking, server.client() as client:
        process = server.kit.start("deploy", str(made), "--no-check", "--port", server.port)
        _until(process, "drain echo")
        (new,) = client.describe("echo", "9-killed")
        for worker in new.workers:
            os.kill(worker.pid, signal.SIGKILL)
        _, errors = process.communicate(timeout=120)
    if process.returncode:  # else it had drained before they died
        assert "error[no-worker-up]" in errors
        assert (server.outline(), server.files()) == before
    assert (asking.wrong, asking.lost) == ([], [])
    if not process.returncode:
        server.kit("rollback", "echo", "--port", server.port)
        server.kit("undeploy", "echo", "9-killed", "--port", server.port)


@pytest.mark.parametrize("version", ["", "2/0", "../x", "all", "a b", "..", "é"])
def test_what_is_no_version_is_refused(server: Server, version: str) -> None:
    before = server.versions(), server.files()
    made = make(server.kit, "9-other")
    refused = server.kit("deploy", made, "--version", version, "--port", server.port, check=False)
    assert "error[bad-version]" in refused.stderr
    assert "  hint: " in refused.stderr
    assert (server.versions(), server.files()) == before


def test_the_same_version_twice_and_an_unknown_name_are_refused(server: Server) -> None:
    (version,) = [one["version"] for one in server.versions() if one["default"]]
    made = make(server.kit, version)
    again = server.kit("deploy", made, "--port", server.port, check=False)
    assert "error[version-served]" in again.stderr
    assert "--version" in again.stderr
    unknown = server.kit("deploy", "ecko", "--port", server.port, check=False)
    assert unknown.returncode == 1
    assert "error[unknown-archive]" in unknown.stderr
    assert "'echo'" in unknown.stderr.rpartition("hint: ")[2]


def test_a_version_that_was_raised_but_not_built_is_named(server: Server) -> None:
    before = server.versions(), server.files()
    made = make(server.kit, "9-raised")
    built = server.kit.root / "model_store/echo.mar"
    made.rename(built)
    server.kit.write("archives.toml", SPEC.format(version="9.1"))
    failed = server.kit("deploy", "echo", "--port", server.port, check=False)
    built.unlink()
    assert "error[not-built]" in failed.stderr
    assert "marsmith build echo" in failed.stderr
    assert (server.versions(), server.files()) == before


def test_a_disk_that_is_full_leaves_nothing(server: Server) -> None:
    server.kit.write("big.bin", "x" * 3_000_000)
    make(server.kit, "9-big")
    spec = SPEC.format(version="9-big").replace("\n\n", '\nextra_files = ["big.bin"]\n\n', 1)
    server.kit.write("archives.toml", spec)
    server.kit("build")
    built = server.kit.root / "model_store/echo.mar"
    made = server.kit.root / "made/big.mar"
    built.rename(made)
    before = server.versions(), server.files()
    words = [BIN / "marsmith", "--project", server.kit.root, "deploy", made, "--no-check"]
    command = shlex.join([*map(str, words), "--port", str(server.port)])
    failed = subprocess.run(  # a limit of 1 MB a file stands for a disk without room
        ["bash", "-c", f"ulimit -f 1000; exec {command}"], capture_output=True, text=True
    )
    assert failed.returncode == 1
    assert "error[not-copied]" in failed.stderr
    assert (server.versions(), server.files()) == before


@pytest.fixture
def slow(server: Server) -> Path:
    return make(server.kit, "9-slow", initialize="time.sleep(600)")


def _until_it_loads(process: subprocess.Popen[str]) -> None:
    _until(process, "load echo")


def _until(process: subprocess.Popen[str], step: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(step):
            return
    pytest.fail(f"it ended before: {step}")


def test_ctrl_c_in_the_middle_backs_out(server: Server, slow: Path) -> None:
    before = server.versions(), server.files()
    with server.asking() as asking:
        process = server.kit.start("deploy", str(slow), "--no-check", "--port", server.port)
        _until_it_loads(process)
        other = server.kit("rollback", "echo", "--port", server.port, check=False)
        assert "error[change-under-way]" in other.stderr
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "error[stopped]" in errors
    assert (server.versions(), server.files()) == before
    assert (asking.wrong, asking.lost) == ([], [])


def test_ctrl_c_ends_a_check_at_once(server: Server, slow: Path, temporary_folder: Path) -> None:
    process = server.kit.start("deploy", str(slow), "--port", server.port)
    _until(process, "check echo")
    wait_for(lambda: bool(leftovers(str(temporary_folder))), "the check's worker")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "error[stopped]" in errors
    assert leftovers(str(temporary_folder)) == []
    assert list(temporary_folder.iterdir()) == []


def test_a_version_that_takes_too_long_is_given_up(server: Server, slow: Path) -> None:
    before = server.versions(), server.files()
    failed = server.kit(
        "deploy", slow, "--no-check", "--timeout", 3, "--port", server.port, check=False
    )
    assert "error[not-ready-in-time]" in failed.stderr
    assert (server.versions(), server.files()) == before


def test_a_front_end_that_dies_in_the_middle_comes_back_as_it_was(
    server: Server, slow: Path
) -> None:
    before = server.outline(), server.files()
    process = server.kit.start("deploy", str(slow), "--no-check", "--port", server.port)
    _until_it_loads(process)
    os.kill(server.state.front_end[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "failed at the step 'load echo" in errors
    wait_for(lambda: server.state.ready, "the server to come back")
    assert (server.outline(), server.files()) == before


def test_a_front_end_that_dies_while_the_old_version_drains_comes_back_as_it_was(
    server: Server,
) -> None:
    """The record says already that the new one is the default, until the deployment goes back."""
    kit, before = server.kit, server.outline()
    made = make(kit, "9-drained")
    with server.asking(attempts=60) as asking:
        process = kit.start("deploy", str(made), "--no-check", "--port", server.port)
        _until(process, "drain echo")
        os.kill(server.state.front_end[0], signal.SIGKILL)
        process.communicate(timeout=120)
        wait_for(lambda: server.state.ready, "the server to come back")
        if process.returncode:  # else it had drained before the front end died
            assert server.outline() == before
        restarts = server.state.restarts
        time.sleep(3)
        assert (server.state.ready, server.state.restarts) == (True, restarts)
    assert asking.wrong == []


def test_a_dead_front_end_comes_back_with_versions_default_and_scale(server: Server) -> None:
    kit = server.kit
    kit("deploy", make(kit, "4.0"), "--port", server.port)
    kit("scale", "echo", 2, "--port", server.port)
    before = server.outline()
    restarts = server.state.restarts
    with server.asking(attempts=60) as asking:
        wait_for(lambda: asking.answered > 50, "answers")
        os.kill(server.state.front_end[0], signal.SIGKILL)
        wait_for(lambda: server.state.restarts > restarts and server.state.ready, "the restart")
        seen = asking.answered
        wait_for(lambda: asking.answered > seen + 50, "answers again")
    assert (asking.wrong, asking.lost) == ([], [])
    assert set(asking.versions) == {"4.0"}
    assert server.outline() == before
    assert kit.json("status")[0]["restarts"] == restarts + 1
    family = psutil.Process(server.state.supervisor[0]).children(recursive=True)
    counts = Counter(one.name() for one in family)
    assert (counts["java"], counts["ts_worker"]) == (1, 2)


def test_what_is_deployed_survives_a_stop_and_a_build_does_not_replace_it(server: Server) -> None:
    kit = server.kit
    before = server.outline()
    kit("scale", "echo", 1, "--port", server.port)
    kit("stop", "--port", server.port)
    make(kit, "7.0").rename(kit.root / "model_store/echo.mar")
    started = kit("serve", "--background", "--secure", "--port", server.port)
    (restored,) = kit.json("status")[0]["restored"]
    assert restored.split()[:2] == ["echo", "4.0"]
    assert "echo 4.0" in started.stdout
    assert server.outline() == [(name, default, min(n, 1)) for name, default, n in before]
    kit("stop", "--port", server.port)
    kit("serve", "--background", "--secure", "--fresh", "--port", server.port)
    assert server.outline() == [("7.0", True, 1)]
    kit("stop", "--port", server.port)
    assert server.files() == set()
    kit("serve", "--background", "--secure", "--port", server.port)
    assert server.outline() == [("7.0", True, 1)]


def test_a_model_api_that_is_closed_is_named(tmp_path: Path) -> None:
    server = serve(tmp_path)
    try:
        made = make(server.kit, "2.0")
        closed = server.kit("deploy", made, "--port", server.port, check=False)
        assert closed.returncode == 1
        assert "error[model-api-closed]" in closed.stderr
    finally:
        server.kit("stop", "--port", server.port)


def test_a_server_that_dies_again_and_again_is_given_up(tmp_path: Path) -> None:
    server = serve(tmp_path)
    log = tmp_path / f".marsmith/servers/{server.port}/serve.log"
    end = time.monotonic() + 120
    while "error[keeps-ending]" not in log.read_text():
        assert time.monotonic() < end
        for state in server.kit.json("status"):
            if not (front_end := state.get("front_end_pid")):
                continue  # it is just being started, or given up
            with suppress(ProcessLookupError):
                os.kill(front_end, signal.SIGKILL)
        time.sleep(0.2)
    wait_for(lambda: server.kit.json("status") == [], "its state to be forgotten")
    assert leftovers(f"{tmp_path}/model_store") == []


def test_a_server_that_is_stopped_while_a_version_loads_stops_and_says_so(tmp_path: Path) -> None:
    server = serve(tmp_path, "--secure")
    slow = make(server.kit, "2.0", initialize="time.sleep(600)")
    process = server.kit.start("deploy", str(slow), "--no-check", "--port", server.port)
    _until_it_loads(process)
    server.kit("stop", "--port", server.port)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "error[server-ended]" in errors
    assert "'load echo 2.0'" in errors  # the step that failed
    make(server.kit, "1.0").rename(tmp_path / "model_store/echo.mar")
    server.kit("serve", "--background", "--port", server.port, "--secure")
    assert server.outline() == [("1.0", True, 1)]
    server.kit("stop", "--port", server.port)
    assert server.files() == set()


def test_a_rollback_to_what_cannot_load_any_more_names_the_cause(tmp_path: Path) -> None:
    server = serve(tmp_path, "--secure")
    kit, port = server.kit, ("--port", server.port)
    shut = tmp_path / "shut"
    closing = f"assert not __import__('os').path.exists({str(shut)!r}), 'the door is shut'"
    try:
        kit("deploy", make(kit, "2.0", initialize=closing), *port)
        kit("deploy", make(kit, "3.0"), *port)
        before = server.outline()
        shut.touch()
        failed = kit("rollback", "echo", *port, check=False)
        assert "error[model-not-loaded]" in failed.stderr
        assert "the door is shut" in failed.stderr  # the handler's own words
        assert server.outline() == before
        shut.unlink()
        kit("undeploy", "echo", "2.0", *port)
        kit("undeploy", "echo", "3.0", *port)  # the last one, so that it may go
        assert kit.json("versions", *port) == []
    finally:
        kit("stop", *port)
