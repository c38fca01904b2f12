"""Children/fork_server.py and forked_worker.py, for real."""

from __future__ import annotations

import importlib
import os
import resource
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import psutil
import pytest

from marsmith.core.processes import have_ended
from marsmith.server.fork_pool import ForkServer, fork_server

# A stand-in for TorchServe's: what it is started with, as a worker sees it.
pytestmark = pytest.mark.processes
WORKER = """
import os, sys, numpy, torch
sys.stderr.write("to stderr")
print(os.getpid(), os.getppid(), os.getcwd(), os.environ.get("OF_THE_MODEL"), *sys.argv[1:])
print(numpy.random.rand(), flush=True)
exec(os.environ.get("ACT", ""))
sys.exit(3)
"""
PATIENCE = 60  # seconds
WAIT = {"ACT": "import time; time.sleep(60)"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A fork server's folder, with the script of its workers."""
    folder = tmp_path_factory.mktemp("fork")
    with running(folder):
        yield folder


@contextmanager
def running(folder: Path) -> Iterator[tuple[ForkServer, subprocess.Popen[bytes]]]:
    """Run a fork server beside a process that stands for TorchServe's front end."""
    for name in ("ts", "model"):
        (folder / name).mkdir()
    (folder / "ts" / "model_service_worker.py").write_text(WORKER)
    server = fork_server(folder)
    assert server is not None
    with subprocess.Popen(["sleep", "600"]) as front_end, (folder / "log").open("wb") as log:
        try:
            server.start(front_end.pid, os.environ, log)
            yield server, front_end
        finally:
            front_end.kill()
            server.stop()
    assert (folder / "log").read_bytes() == b""


def start(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start a worker as TorchServe's front end does."""
    return subprocess.Popen(
        [folder / "python", folder / "ts" / "model_service_worker.py", *arguments],
        cwd=folder / "model",
        env=os.environ | {"PYTHONPATH": f"{folder / 'model'}:"} | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def processes(line: str) -> tuple[psutil.Process, psutil.Process]:
    """Return the worker that printed the line, and its parent."""
    worker, parent, *_ = line.split()
    return psutil.Process(int(worker)), psutil.Process(int(parent))


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_a_worker_runs_as_if_python_had_been_started_with_its_script(place: Path) -> None:
    with start(place, "--sock-type", "unix", OF_THE_MODEL="yes") as child:
        printed, errors = child.communicate(timeout=PATIENCE)
    worker, parent, *seen = printed.splitlines()[0].split()
    assert seen == [str(place / "model"), "yes", "--sock-type", "unix"]
    assert errors == "to stderr"
    assert child.returncode == 3
    assert int(worker) != child.pid
    assert "fork_server.py" in " ".join(psutil.Process(int(parent)).cmdline())


def test_workers_are_no_twins(place: Path) -> None:
    both = [start(place) for _ in range(2)]
    printed = [child.communicate(timeout=PATIENCE)[0].splitlines()[1] for child in both]
    assert printed[0] != printed[1]  # NumPy's random numbers


def test_a_worker_ends_with_the_child_that_torchserve_ends(place: Path) -> None:
    with start(place, **WAIT) as child:
        worker, _ = processes(first_line(child))
        assert worker.name() == "ts_worker"
        worker.send_signal(signal.SIGSTOP)  # as one that hangs
        child.kill()
        assert have_ended([worker], 5)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_child_ends_as_its_worker_does(place: Path, number: signal.Signals) -> None:
    with start(place, **WAIT) as child:
        worker, _ = processes(first_line(child))
        worker.send_signal(number)
        assert child.wait(5) == 128 + number


def test_a_worker_holds_nothing_that_is_the_fork_servers_or_anothers(place: Path) -> None:
    with start(place, **WAIT) as first, start(place, **WAIT) as second:
        workers = [processes(first_line(child))[0] for child in (first, second)]
        for worker in workers:
            open_files = Path(f"/proc/{worker.pid}/fd")
            streams = {(open_files / name).readlink() for name in ("0", "1", "2")}
            assert {path.readlink() for path in open_files.iterdir()} == streams
        first.kill()
        assert have_ended(workers[:1], 5)
        assert not have_ended(workers[1:], 0.2)
        second.kill()


def test_a_model_with_a_module_of_a_name_that_is_imported_gets_its_own(place: Path) -> None:
    (place / "model" / "yaml.py").write_text("OURS = True\n")
    try:
        with start(place, ACT="import yaml; print(yaml.OURS)") as child:
            printed, _ = child.communicate(timeout=PATIENCE)
        assert printed.endswith("True\n")
        assert child.returncode == 3
    finally:
        (place / "model" / "yaml.py").unlink()


def test_a_client_with_another_request_is_disconnected(place: Path) -> None:
    for message in (b"", b"GET / HTTP/1.1\r\n", b"\0\0\0\2[]", b"\0\0\0\2{}"):
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(place / "fork.sock"))
            caller.sendall(message)
            caller.shutdown(socket.SHUT_WR)
            try:
                assert caller.recv(1) == b""
            except ConnectionResetError:  # it did not even read all of it
                continue
    with start(place) as child:
        assert child.communicate(timeout=PATIENCE)[0].splitlines()


def test_what_is_no_worker_is_pythons_own_affair(place: Path) -> None:
    asked = [str(place / "python"), "-c", "import sys; print(sys.argv, sys.flags.isolated)", "a b"]
    assert subprocess.check_output(asked, text=True) == "['-c', 'a b'] 0\n"


def test_a_model_with_packages_of_its_own_gets_a_python_of_its_own(place: Path) -> None:
    (place / "model" / "six-1.0.dist-info").mkdir()
    try:
        with start(place) as child:
            printed, _ = child.communicate(timeout=PATIENCE)
        assert int(printed.split()[0]) == child.pid
    finally:
        (place / "model" / "six-1.0.dist-info").rmdir()


def test_a_worker_may_open_as_many_files_as_one_that_java_starts(tmp_path: Path) -> None:
    count = "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
    try:
        with running(tmp_path), start(tmp_path, ACT=count) as child:
            printed, _ = child.communicate(timeout=PATIENCE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert printed.splitlines()[-1] == f"({hard}, {hard})"


def test_a_fork_that_fails_costs_no_other_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Too many processes: a limit that does not bind root, so fork itself is made to fail."""
    module = importlib.import_module("marsmith.programs.fork_server")
    monkeypatch.setattr(os, "fork", mock.Mock(side_effect=BlockingIOError(11, "no more of them")))
    (tmp_path / "ts").mkdir()
    (tmp_path / "ts" / "model_service_worker.py").write_text("print('by itself')")
    prepared = fork_server(tmp_path)
    assert prepared is not None
    with socket.socket(socket.AF_UNIX) as listener, subprocess.Popen(["sleep", "60"]) as front_end:
        listener.bind(str(tmp_path / "fork.sock"))
        listener.listen()
        server = module.ForkServer(listener, os.pidfd_open(front_end.pid))
        serving = threading.Thread(target=server.serve)
        serving.start()
        command = [prepared.python, tmp_path / "ts" / "model_service_worker.py"]
        printed = subprocess.check_output(command, text=True, timeout=PATIENCE)
        assert serving.is_alive()
        front_end.kill()
        serving.join(PATIENCE)
    assert printed
    assert capsys.readouterr().err


def test_workers_and_fork_server_end_with_the_front_end(tmp_path: Path) -> None:
    with running(tmp_path) as (_, front_end), start(tmp_path, **WAIT) as child:
        worker, parent = processes(first_line(child))
        front_end.kill()
        assert have_ended([worker, parent], 5)
        assert child.wait(5) == 1
        assert not psutil.pid_exists(worker.pid)  # nor a zombie


def test_without_a_fork_server_a_worker_is_started_by_itself(tmp_path: Path) -> None:
    with running(tmp_path) as (server, _), start(tmp_path, **WAIT) as child:
        worker, parent = processes(first_line(child))
        parent.kill()
        assert have_ended([worker], 5)
        assert child.wait(5) == 1
        with start(tmp_path) as next_one:
            printed, _ = next_one.communicate(timeout=PATIENCE)
        note, line, *_ = printed.splitlines()
        assert note.startswith("no fork server")
        assert int(line.split()[0]) == next_one.pid
        server.stop()


def test_a_folder_whose_files_cannot_be_run_forks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # as of a file system mounted noexec
    assert fork_server(tmp_path) is None


def test_another_system_forks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    assert fork_server(tmp_path) is None
