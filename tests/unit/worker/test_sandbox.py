"""What a handler tries in the sandbox: each attempt is made by real code, and judged by its effect.

The handler runs each request's body as Python, and answers with what that gives.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from marsmith.archive.reader import Archive
from marsmith.building.building import build
from marsmith.check.checking import check
from marsmith.check.targets import Target
from marsmith.core.errors import ServerError
from marsmith.worker.runtime import Runtime
from marsmith.worker.sandbox import Limits, Sandbox
from tests.codes import coded
from tests.projects import make_project, minimal_spec

pytestmark = pytest.mark.processes

HANDLER = """\
import os


class Handler:
    def initialize(self, context):
        self.model_dir = context.system_properties["model_dir"]

    def handle(self, data, context):
        names = {"model_dir": self.model_dir, "answer": None}
        try:
            exec(data[0]["body"].decode(), names)
        except OSError as error:
            return [{"errno": error.errno}]
        except Exception as error:
            return [{"error": type(error).__name__}]
        return [{"answer": names["answer"]}]
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """An archive whose handler does what it is told."""
    root = tmp_path_factory.mktemp("obedient")
    project = make_project(root, {"handler.py": HANDLER, "data.txt": "packed"}, _SPEC)
    (built,) = build(project, ("tiny",))
    return Archive(built.path)


_SPEC = minimal_spec('extra_files = ["data.txt"]\n')


def sandboxed(archive: Archive, limits: Limits | None = None) -> Runtime:
    """Return a running worker in a sandbox; skip where this system allows none."""
    run = Runtime(archive, timeout=30, sandbox=Sandbox(limits=limits or Limits()))
    run.start()
    if run.without_sandbox:
        run.stop()
        pytest.skip(f"this system allows no sandbox: {run.without_sandbox}")
    return run


@pytest.fixture(scope="module")
def run(archive: Archive) -> Iterator[Runtime]:
    """One worker in a sandbox."""
    with sandboxed(archive) as runtime:
        yield runtime


def attempt(run: Runtime, source: str) -> Any:
    """Let the handler run a source; return its answer, or how it failed."""
    answer = run.predict(source.encode())
    assert answer.ok, (answer.status, answer.text, run.lost)
    return answer.json()


def test_nothing_outside_can_be_written_changed_or_removed(run: Runtime) -> None:
    """Not even with the user's own rights: the file systems are read-only."""
    # Not in a temporary folder: those are not even seen.
    victim = Path(sys.prefix) / f"victim-{os.getpid()}"
    victim.write_text("whole")
    victim.chmod(0o666)
    refused = (errno.EROFS, errno.EACCES, errno.EPERM)
    try:
        for source in (
            f"open({str(victim)!r}, 'w')",
            f"os.chmod({str(victim)!r}, 0o777)",
            f"os.unlink({str(victim)!r})",
            f"os.rename({str(victim)!r}, {str(victim)!r} + 'x')",
            f"os.link({str(victim)!r}, model_dir + '/link')",
            f"os.symlink({str(victim)!r}, '/tmp/a'); open('/tmp/a', 'w')",
            f"os.utime({str(victim)!r})",
            f"os.setxattr({str(victim)!r}, 'user.a', b'a')",
            f"os.mkdir({str(victim)!r} + 'd')",
            "os.mkdir('/etc/marsmith-sandbox')",
        ):
            failed = attempt(run, f"import os\n{source}")
            assert failed.get("errno") in (*refused, errno.EXDEV), source
        assert victim.read_text() == "whole"
        assert victim.stat().st_mode & 0o777 == 0o666
    finally:
        victim.unlink()


def test_its_own_folders_can_be_written_and_nothing_of_it_is_left(run: Runtime) -> None:
    """The model's folder, temporary ones and the home are its own, in memory."""
    for place in ("model_dir", "'/tmp'", "'/var/tmp'", "'/dev/shm'", "os.path.expanduser('~')"):
        name = f"marsmith-left-{os.getpid()}"
        source = (
            f"import os\npath = os.path.join({place}, {name!r})\n"
            "open(path, 'w').write('mine')\nanswer = open(path).read()"
        )
        assert attempt(run, source) == {"answer": "mine"}
        for folder in ("/tmp", "/var/tmp", "/dev/shm", Path.home()):  # noqa: S108
            assert not Path(folder, name).exists()


def test_what_is_packed_can_be_read_and_changed(run: Runtime) -> None:
    """Handlers unpack, rewrite and rename beside their model."""
    source = "import os\nos.rename(model_dir + '/data.txt', model_dir + '/moved')\n"
    source += (
        "open(model_dir + '/moved', 'a').write('+')\nanswer = open(model_dir + '/moved').read()"
    )
    assert attempt(run, source) == {"answer": "packed+"}


def test_temporary_and_home_folders_of_others_are_not_seen(run: Runtime, tmp_path: Path) -> None:
    """They hold keys, and sockets of programs that have rights."""
    (tmp_path / "key").write_text("secret")
    assert attempt(run, f"open({str(tmp_path / 'key')!r})") == {"errno": errno.ENOENT}
    seen = attempt(run, "import os\nanswer = os.listdir(os.path.expanduser('~/.ssh'))")
    assert seen == {"errno": errno.ENOENT}
    assert attempt(run, "import os\nanswer = os.listdir('/run')") == {"answer": []}


def test_root_only_files_cannot_be_read(run: Runtime) -> None:
    """As root, it runs as nobody."""
    assert attempt(run, "open('/etc/shadow')") in (
        {"errno": errno.EACCES},
        {"errno": errno.ENOENT},
    )


def test_no_device_of_the_machine_is_there(run: Runtime) -> None:
    """Disks and kernel memory; new device files do not help."""
    found = attempt(run, "import os\nanswer = os.listdir('/dev')")["answer"]
    assert {"null", "urandom", "shm"} <= set(found)
    allowed = {"null", "zero", "full", "random", "urandom", "tty", "shm", "fd", "dri", "kfd", "dxg"}
    allowed |= {"stdin", "stdout", "stderr"}
    assert not {one for one in found if not one.startswith("nvidia")} - allowed
    source = "import os\nos.mknod('/tmp/disk', 0o60666, os.makedev(254, 0))"
    assert attempt(run, source) == {"errno": errno.EPERM}


def test_a_listening_server_is_not_reached(run: Runtime) -> None:
    """Neither a port of this machine nor the world; names fail at once."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        source = f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 5)"
        assert attempt(run, source) == {"errno": errno.ECONNREFUSED}
        with pytest.raises(TimeoutError):
            server.accept()
    begun = time.monotonic()
    source = "import socket\nsocket.create_connection(('192.0.2.1', 80), 20)"
    assert attempt(run, source) == {"errno": errno.ENETUNREACH}
    assert "errno" in attempt(run, "import socket\nsocket.getaddrinfo('example.org', 80)")
    assert time.monotonic() - begun < 10


def test_it_can_listen_and_connect_within(run: Runtime) -> None:
    """Libraries talk to their own processes over the loopback interface."""
    source = (
        "import socket\none = socket.create_server(('127.0.0.1', 0))\n"
        "socket.create_connection(one.getsockname(), 5)\nanswer = 'connected'"
    )
    assert attempt(run, source) == {"answer": "connected"}


def test_sockets_outside_are_not_reached(run: Runtime, tmp_path: Path) -> None:
    """Abstract ones belong to the network, others to folders that are hidden."""
    with socket.socket(socket.AF_UNIX) as abstract, socket.socket(socket.AF_UNIX) as named:
        abstract.bind(f"\0marsmith-{os.getpid()}")
        abstract.listen()
        named.bind(str(tmp_path / "s"))
        named.listen()
        for address, failure in (
            (f"\0marsmith-{os.getpid()}", errno.ECONNREFUSED),
            (str(tmp_path / "s"), errno.ENOENT),
        ):
            source = f"import socket\nsocket.socket(socket.AF_UNIX).connect({address!r})"
            assert attempt(run, source) == {"errno": failure}


def test_no_process_outside_is_seen_killed_or_traced(run: Runtime) -> None:
    """Its process ids begin at 1, and the first is no more open to it than others outside."""
    seen = attempt(run, "import os\nanswer = sorted(n for n in os.listdir('/proc') if n.isdigit())")
    assert seen == {"answer": ["1", "2"]}
    parent = os.getpid()
    for source, failures in (
        (f"os.kill({parent}, 9)", {errno.ESRCH}),
        (f"open('/proc/{parent}/environ')", {errno.ENOENT}),
        ("open('/proc/1/environ')", {errno.EACCES, errno.EPERM}),
        ("open('/proc/1/mem', 'rb')", {errno.EACCES, errno.EPERM}),
        ("os.listdir('/proc/1/fd')", {errno.EACCES, errno.EPERM}),
        (_TRACE, {errno.EPERM}),
    ):
        assert attempt(run, f"import os\n{source}").get("errno") in failures, source
    attempt(run, "import os\ntry:\n    os.kill(1, 9)\nexcept PermissionError:\n    pass")
    assert attempt(run, "answer = 'alive'") == {"answer": "alive"}


_TRACE = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
if libc.ptrace(16, 1, 0, 0) < 0:
    raise OSError(ctypes.get_errno(), "ptrace")
"""


def test_it_gets_no_rights(run: Runtime) -> None:
    """No program with another owner's rights, no further namespaces, no mounts."""
    found = attempt(run, "answer = open('/proc/self/status').read()")["answer"]
    status = dict(line.split(":\t", 1) for line in found.splitlines() if ":\t" in line)
    for kind in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) == 0
    assert status["NoNewPrivs"] == "1"
    for call in ("unshare(0x10000000)", "unshare(0x00020000)", "mount(0, b'/', 0, 0x1020, 0)"):
        source = _CALL.format(call=call)
        assert attempt(run, source).get("errno") in (errno.EPERM, errno.ENOSPC), call
    for place in ("'/'", "'/tmp'", "'/proc'"):
        source = _CALL.format(call=f"umount2({place}.encode(), 2)")
        assert attempt(run, source) == {"errno": errno.EPERM}
    assert attempt(run, "import os\nos.setuid(0)") == {"errno": errno.EPERM} or os.geteuid() == 0


_CALL = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
if libc.{call} < 0:
    raise OSError(ctypes.get_errno(), "refused")
"""


def test_a_program_with_its_owners_rights_runs_without(run: Runtime) -> None:
    """Such as `su`: it starts, as the same user and without rights."""
    source = (
        "import os, shutil\npath = '/tmp/mine'\nshutil.copy('/usr/bin/id', path)\n"
        "os.chmod(path, 0o4755)\nimport subprocess\n"
        "answer = [subprocess.run([path, '-u'], capture_output=True, text=True).stdout,"
        " os.getuid()]"
    )
    shown, user = attempt(run, source)["answer"]
    assert int(shown) == user
    if su := shutil.which("su"):
        source = f"import subprocess\nanswer = subprocess.run([{su!r}, '-c', 'true']).returncode"
        assert attempt(run, source)["answer"] != 0


def test_no_child_outlives_it(archive: Archive) -> None:
    """Not a daemon in a session of its own; it is killed with the first process."""
    with sandboxed(archive) as run:
        source = "import subprocess\nsubprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        attempt(run, source + "subprocess.run(['sh', '-c', 'setsid sleep 601 & :'])")
        _wait_for(2)
    assert _sleeping() == 0


def test_no_child_outlives_a_killed_caller(archive: Archive) -> None:
    """The caller's end of the socket closes, whatever ended it."""
    sandboxed(archive).stop()
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom marsmith.worker.runtime import Runtime\n"
        "from marsmith.worker.sandbox import Sandbox\n"
        "run = Runtime(Path(sys.argv[1]), sandbox=Sandbox())\nrun.start()\n"
        "run.predict(b\"import subprocess; subprocess.Popen(['sleep', '600'])\")\n"
        "print(run.pid, flush=True)\ntime.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(archive.path)]
    caller = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert caller.stdout is not None
    worker = psutil.Process(int(caller.stdout.readline()))
    caller.kill()
    caller.communicate()
    _wait_for(0)
    psutil.wait_procs([worker], timeout=10)
    assert not psutil.pid_exists(worker.pid)


# Becomes nobody, without any right, in a mount namespace where that user can read Python.
AS_NOBODY = """\
set -e
stash=$(mktemp -d)
mount --make-rprivate /
mount --bind "$1" "$stash"
mount -t tmpfs -o mode=755 none "/$(echo "$1" | cut -d/ -f2)"
mkdir -p "$1"
mount --bind "$stash" "$1"
shift
exec setpriv --reuid nobody --regid nogroup --clear-groups --inh-caps=-all --bounding-set=-all "$@"
"""
ORDINARY = """\
import sys
from pathlib import Path
from marsmith.worker.runtime import Runtime
from marsmith.worker.sandbox import Sandbox
with Runtime(Path(sys.argv[1]), timeout=60, sandbox=Sandbox()) as run:
    print(run.without_sandbox)
    for source in sys.argv[2:]:
        print(run.predict(source.encode()).text.replace(chr(10), " "))
"""


def test_an_ordinary_user_has_the_same_sandbox(archive: Archive) -> None:
    """Where the tests run as root, a child becomes nobody, who has no rights to begin with."""
    if os.geteuid():
        pytest.skip("these tests do not run as root: the others are those of an ordinary user")
    prefix = Path(sys.base_prefix).resolve()
    become = ["unshare", "-m", "sh", "-c", AS_NOBODY, "sh", str(prefix)]
    if not prefix.is_relative_to("/root"):  # readable as it is
        become = ["setpriv", *AS_NOBODY.split("setpriv ")[1].split()[:-1]]
    if subprocess.run([*become, "true"], check=False).returncode:
        pytest.skip("this system does not let the tests become another user")
    home = Path(tempfile.mkdtemp(dir="/tmp"))
    shutil.copy(archive.path, home / "tiny.mar")
    (home / "secret").write_text("whole")
    for path in (home, *home.iterdir()):
        shutil.chown(path, "nobody", "nogroup")
    sources = (
        f"open({str(home / 'secret')!r}, 'w')",
        f"open({str(Path(sys.prefix, 'x'))!r}, 'w')",
        "import os; answer = os.listdir('/proc')",
        "import socket; socket.create_connection(('192.0.2.1', 80), 2)",
        "import os; os.setuid(0)",
        "open(model_dir + '/own', 'w').write('x'); answer = 'written'",
    )
    try:
        done = subprocess.run(
            [*become, sys.executable, "-c", ORDINARY, str(home / "tiny.mar"), *sources],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env=os.environ | {"HOME": str(home), "TMPDIR": str(home)},
        )
        kept = (home / "secret").read_text()
    finally:
        shutil.rmtree(home)
    assert done.returncode == 0, done.stderr
    without, *lines = done.stdout.splitlines()
    if without:
        pytest.skip(f"this system allows ordinary users no sandbox: {without}")
    found = [json.loads(line) for line in lines]
    refused = [one.get("errno") for one in found]
    assert kept == "whole"  # its home is another one, in memory
    assert refused[1] in (errno.EROFS, errno.EACCES)
    assert len([name for name in found[2]["answer"] if name.isdecimal()]) < 5
    assert refused[3] == errno.ENETUNREACH
    assert refused[4] in (errno.EPERM, errno.EINVAL)  # there is no such user in there
    assert found[5] == {"answer": "written"}


def _wait_for(count: int) -> None:
    deadline = time.monotonic() + 10
    while _sleeping() != count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _sleeping() -> int:
    found = 0
    for process in psutil.process_iter():
        try:
            line = process.cmdline()
            found += line[:1] == ["sleep"] and line[1:] in (["600"], ["601"])
        except psutil.Error:
            continue
    return found


def test_a_fork_bomb_is_refused_at_its_limit(archive: Archive) -> None:
    """The machine goes on; so does the worker once its children are gone."""
    with sandboxed(archive, Limits(processes=40)) as run:
        source = (
            "import os, signal, time\nchildren = []\ntry:\n    while True:\n"
            "        child = os.fork()\n        if not child:\n            time.sleep(60)\n"
            "            os._exit(0)\n        children.append(child)\n"
            "except BlockingIOError:\n    answer = len(children)\n"
            "for child in children:\n    os.kill(child, signal.SIGKILL)\n    os.waitpid(child, 0)"
        )
        assert 20 < attempt(run, source)["answer"] < 40
        assert attempt(run, "answer = 1") == {"answer": 1}


def test_memory_has_a_limit(archive: Archive) -> None:
    """For one process at once, and for all of them together."""
    size = 256 << 20
    with sandboxed(archive, Limits(memory=size, data=2 * size)) as run:
        assert attempt(run, "bytearray(10 << 30)") == {"error": "MemoryError"}
        source = (
            "import os, time\nfor _ in range(4):\n    if not os.fork():\n"
            f"        kept = bytearray({size // 3})\n"
            "        kept[::4096] = b'x' * len(kept[::4096])\n        time.sleep(60)\n"
            "time.sleep(20)"
        )
        assert run.predict(source.encode()).status == 500
        assert run.lost is not None
        assert run.lost.rule == "sandbox-limit"


def test_files_in_memory_count_and_have_a_limit(archive: Archive) -> None:
    """A full disk is the sandbox's own."""
    fill = (
        "with open('{place}', 'wb') as file:\n    while True:\n        file.write(bytes(1 << 20))"
    )
    with sandboxed(archive, Limits(storage=32 << 20)) as run:
        for place in ("/tmp/full", "/dev/shm/full"):  # noqa: S108
            failed = attempt(run, fill.format(place=place))
            assert failed["errno"] in (errno.ENOSPC, errno.EFBIG)
        many = "for number in range(40):\n    open(f'/tmp/{number}', 'wb').write(bytes(1 << 20))"
        assert attempt(run, many) == {"errno": errno.ENOSPC}
    with sandboxed(archive, Limits(memory=128 << 20)) as run:
        endless = fill.format(place="/tmp/full")  # noqa: S108
        assert run.predict(endless.encode()).status == 500
        assert run.lost is not None
        assert run.lost.rule == "sandbox-limit"


def test_the_log_has_a_limit(archive: Archive) -> None:
    """It is the only file outside that it can make grow."""
    with sandboxed(archive, Limits(log=1 << 20)) as run:
        assert run.predict(b"while True:\n    print('x' * 10000, flush=True)").status == 500
        assert run.lost is not None
        assert run.lost.rule == "sandbox-limit"


def test_files_that_are_open_have_a_limit(archive: Archive) -> None:
    """So that none run out elsewhere."""
    with sandboxed(archive, Limits(files=64)) as run:
        source = "kept = [open('/dev/null') for _ in range(100)]"
        assert attempt(run, source) == {"errno": errno.EMFILE}


def test_the_end_of_a_worker_is_told(archive: Archive) -> None:
    """With the signal, and then a new worker answers."""
    with sandboxed(archive) as run:
        assert run.predict(b"import os; os.kill(os.getpid(), 11)").status == 500
        assert run.lost is not None
        assert run.lost.rule == "worker-ended"
        assert "SIGSEGV" in run.lost.message
        assert attempt(run, "answer = 2") == {"answer": 2}


def test_its_process_id_is_that_of_the_worker(run: Runtime) -> None:
    """As this process sees it, so that its memory can be measured."""
    assert run.pid is not None
    assert "light_worker.py" in " ".join(psutil.Process(run.pid).cmdline())


def test_a_thread_that_ends_leaves_the_worker(archive: Archive) -> None:
    """The kernel's own signal for a parent's death would come when a thread ends."""
    found: list[Runtime] = []
    thread = threading.Thread(target=lambda: found.append(sandboxed(archive)))
    thread.start()
    thread.join()
    if not found:
        pytest.skip("this system allows no sandbox")
    with found[0] as run:
        assert attempt(run, "answer = 3") == {"answer": 3}


def test_without_a_sandbox_it_says_why_or_refuses(archive: Archive) -> None:
    """The kernel refuses to mount a file system of this size, as it refuses other things."""
    limits = Limits(storage=-1)
    with Runtime(archive, sandbox=Sandbox(limits=limits)) as run:
        assert "tmpfs" in run.without_sandbox
        assert attempt(run, "answer = 4") == {"answer": 4}
    with pytest.raises(ServerError, check=coded("no-sandbox")):
        Runtime(archive, sandbox=Sandbox(required=True, limits=limits)).start()


WRITES = """\
class Handler:
    def initialize(self, context):
        folder = context.system_properties["model_dir"]
        for path in (folder + "/own", "/tmp/own", "/dev/null", {more}):
            try:
                with open(path, "w") as file:
                    file.write("x")
            except OSError:
                {refused}

    def handle(self, data, context):
        return ["right"] * len(data)
"""


@pytest.mark.parametrize(
    ("more", "refused", "rules"),
    [
        ("", "pass", []),
        (f"{sys.prefix}/cache", "pass", ["refused-write"]),
        (f"{sys.prefix}/cache", "raise", ["load"]),
    ],
)
def test_check_names_what_a_handler_may_not_write(
    archive: Archive, tmp_path: Path, more: str, refused: str, rules: list[str]
) -> None:
    sandboxed(archive).stop()
    code = WRITES.format(more=repr(more) if more else "", refused=refused)
    (built,) = build(make_project(tmp_path, {"handler.py": code}, minimal_spec()), ("tiny",))
    found = check(Target("tiny", built.path), timeout=60, sandbox=Sandbox()).findings
    assert [one.rule for one in found if one.rule in ("refused-write", "load")] == rules
    assert all(more in f"{one.message} {one.hint}" for one in found if one.rule in rules)
