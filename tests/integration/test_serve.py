"""Starting and stopping: ready when it says so, the true cause when not, nothing left behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import psutil
import pytest
import torch

from marsmith.project.project import Project
from marsmith.server.state import running_servers
from marsmith.torchserve.ports import free_ports
from tests.integration.kit import BIN, Kit, leftovers, wait_for

READY = ("ready", "started, unproven")  # states in `status --json`
TempFactory = pytest.TempPathFactory

HANDLER = """\
class Handler:
    def initialize(self, context):
        {initialize}

    def handle(self, data, context):
        return ["right"] * len(data)
"""
SPEC = """\
[archives.{name}]
version = "1.0"
handler = "handlers/{name}.py"
{more}
[archives.{name}.serving]
minWorkers = 1
maxWorkers = 1
"""


def _archive(kit: Kit, name: str, initialize: str = "pass", top: str = "", more: str = "") -> None:
    """Add an archive to a project: a handler whose `initialize` does this or that."""
    kit.write(f"handlers/{name}.py", top + HANDLER.format(initialize=initialize))
    spec = (kit.root / "archives.toml").read_text()
    kit.write("archives.toml", spec + SPEC.format(name=name, more=more))


def _temporary_folder(port: int, kit: Kit) -> Path:
    state = json.loads((kit.root / f".marsmith/servers/{port}/state.json").read_text())
    return Path(state["folder"])


def _ready_in_foreground(kit: Kit, port: int) -> subprocess.Popen[str]:
    process = kit.start("serve", "--port", port)
    assert process.stdout is not None
    assert process.stdout.readline(), process.communicate()  # it prints once it is ready
    assert kit.served(port)[0] in READY
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_server_leaves_nothing_behind(empty: Kit, number: signal.Signals) -> None:
    _archive(empty, "echo")
    empty("build")
    port = free_ports(5)
    process = _ready_in_foreground(empty, port)
    folder = _temporary_folder(port, empty)
    assert (folder / ".ts.sock.9000").is_socket()
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert not folder.exists()
    assert not (empty.root / "key_file.json").exists()
    assert not (empty.root / f".marsmith/servers/{port}/state.json").exists()
    assert leftovers(str(folder)) == []
    assert empty.json("status") == []


def test_a_stop_while_models_load_leaves_nothing_behind(empty: Kit) -> None:
    _archive(empty, "slow", "import time; time.sleep(600)")
    empty("build")
    port = free_ports(5)
    process = empty.start("serve", "--port", port)
    state = empty.root / f".marsmith/servers/{port}/state.json"
    wait_for(state.exists, "the server to start")
    folder = _temporary_folder(port, empty)
    wait_for((folder / ".ts.sock.9000").exists, "the worker to start")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert leftovers(str(folder)) == []
    assert not folder.exists()


def test_background_status_and_stop(kit: Kit) -> None:
    kit("build")
    ports = free_ports(10)
    for port in (ports, ports + 5):
        kit("serve", "--background", "--port", port)
        assert kit.served(port) == ("ready", ["digits"], [])
    states = kit.json("status")
    assert [state["port"] for state in states] == [ports, ports + 5]
    assert {state["state"] for state in states} == {"ready"}
    undecided = kit("models", check=False)
    assert undecided.returncode == 1
    assert "error[several-servers]" in undecided.stderr
    assert kit.json("models", "--port", ports + 5)[0]["name"] == "digits"

    again = kit("serve", "--port", ports, check=False)
    assert again.returncode == 1
    assert "error[already-serving]" in again.stderr

    folders = [_temporary_folder(state["port"], kit) for state in states]
    kit("stop", "--port", ports)
    assert kit.json("models")[0]["name"] == "digits"
    kit("stop")
    assert [leftovers(str(folder)) for folder in folders] == [[], []]
    assert kit("stop", check=False).returncode == 1


def test_without_config_properties_the_defaults_are_safe(tmp_path: Path) -> None:
    kit = Kit(tmp_path)
    kit.write("archives.toml", '[archives.echo]\nversion = "1"\nhandler = "echo.py"\n')
    kit.write("echo.py", HANDLER.format(initialize="pass"))
    kit("build")
    kit("serve", "--background", "--port", free_ports(5))
    try:
        (state,) = kit.json("status")
        (model,) = kit.json("models")
        metrics = httpx2.get(f"{state['metrics_url']}/metrics", trust_env=False).text
        connections = psutil.Process(state["front_end_pid"]).net_connections("tcp")
        listening = {one.laddr.ip for one in connections if one.status == psutil.CONN_LISTEN}
    finally:
        kit("stop")
    assert not state["secure"]
    assert (model["minWorkers"], len(model["workers"])) == (1, 1)
    assert "ts_inference_requests_total" in metrics or "CPUUtilization" in metrics
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}


def test_a_file_is_served_outside_of_any_project(empty: Kit, tmp_path_factory: TempFactory) -> None:
    _archive(empty, "echo", more=_sample(empty, "echo"))
    empty("build")
    folder = tmp_path_factory.mktemp("elsewhere")
    (empty.root / "model_store/echo.mar").rename(folder / "renamed.mar")

    def marsmith(*words: str, check: bool = True) -> str:
        command = [str(BIN / "marsmith"), *words]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    assert "error[no-project]" in marsmith("stop", check=False)
    port = str(free_ports(5))
    ready = marsmith("serve", "renamed.mar", "--background", "--port", port)
    try:
        assert json.loads(marsmith("status", "--json"))[0]["state"] == "ready"
        assert f" marsmith stop --port {port}\n" in ready
        assert "right" in marsmith("predict", "echo", "renamed.mar")
        # No file beside the archive but Marsmith's own folder.
        assert {path.name for path in folder.iterdir()} == {"renamed.mar", ".marsmith"}
        (state,) = running_servers(Project.find(folder))
        os.kill(state.front_end[0], signal.SIGKILL)
        wait_for(lambda: running_servers(Project.find(folder))[0].restarts == 1, "its restart")
        wait_for(lambda: running_servers(Project.find(folder))[0].ready, "it to be ready again")
        assert "right" in marsmith("predict", "echo", "renamed.mar")
    finally:
        marsmith("stop", "--port", port)
    assert list((folder / f".marsmith/servers/{port}/archives").iterdir()) == []


def test_what_lies_in_the_model_store_is_served_and_checked_by_its_name(empty: Kit) -> None:
    """As an exported archive, which archives.toml does not describe."""
    _archive(empty, "echo")
    empty("build")
    store = empty.root / "model_store"
    shutil.copy(store / "echo.mar", store / "echo-onnx.mar")
    empty("check", "echo-onnx")
    port = free_ports(5)
    ready = empty("serve", "echo-onnx", "--background", "--port", port).stdout
    assert empty.served() == ("started, unproven", [], ["echo-onnx"])
    empty("stop")
    assert f" marsmith --project {empty.root} stop --port {port}\n" in ready
    unknown = empty("check", "echo-onxx", check=False)
    assert unknown.returncode == 1


def test_a_file_of_a_model_that_is_served_too_is_refused(empty: Kit) -> None:
    _archive(empty, "echo")
    empty("build")
    other = empty.root / "other.mar"
    shutil.copy(empty.root / "model_store/echo.mar", other)
    refused = empty("serve", "echo", other, "--port", free_ports(5), check=False)
    assert "error[same-name]" in refused.stderr
    assert {path.name for path in (empty.root / "model_store").iterdir()} == {"echo.mar"}


def test_port_0_takes_free_ports_and_prints_them(empty: Kit) -> None:
    _archive(empty, "echo")
    empty("build")
    printed = empty("serve", "--background", "--port", 0).stdout
    (state,) = empty.json("status")
    assert f"http://127.0.0.1:{state['port']}/predictions/echo" in printed
    assert state["management_url"].endswith(f":{state['port'] + 1}")
    empty("stop")


@pytest.mark.parametrize(
    ("initialize", "top", "cause", "hint"),
    [
        ("pass", "import not_there\n", "handlers/broken.py:1: ModuleNotFoundError", "extra_files"),
        ("{}['size']", "", "handlers/broken.py:3: KeyError: 'size'", "workers.log"),
        ("import os; os._exit(3)", "", "broken", "exit()"),
        ("import sys; sys.exit('bye')", "", "broken", "workers.log"),
    ],
)
def test_a_worker_that_cannot_load_names_the_true_cause(
    empty: Kit, initialize: str, top: str, cause: str, hint: str
) -> None:
    _archive(empty, "broken", initialize, top)
    empty("build")
    result = empty("serve", "broken", "--port", free_ports(5), check=False)
    assert result.returncode == 1
    assert "error[model-not-loaded]" in result.stderr
    assert cause in result.stderr
    assert "ts.torch_handler" not in result.stderr
    assert hint in result.stderr.split("hint: ")[-1]
    assert empty.json("status") == []


def test_the_background_says_the_same(empty: Kit) -> None:
    _archive(empty, "broken", top="import not_there\n")
    empty("build")
    result = empty("serve", "--background", "--port", free_ports(5), check=False)
    assert result.returncode == 1
    assert "handlers/broken.py:1: ModuleNotFoundError" in result.stderr
    assert "error[model-not-loaded]" in result.stderr


def test_weights_that_do_not_fit_are_named(kit: Kit) -> None:
    path = kit.root / "weights" / "convnet.pth"
    state = torch.load(path, weights_only=True)
    torch.save(state | {"fc2.bias": torch.zeros(7)}, path)
    kit("build")
    result = kit("serve", "--port", free_ports(5), check=False)
    assert result.returncode == 1
    assert "error[model-not-loaded]" in result.stderr
    assert re.search(r"\b7\b.*\b10\b", result.stderr)  # the sizes of the weights and the model


def test_a_wrong_answer_to_the_sample_is_not_ready(kit: Kit) -> None:
    expected = json.loads((kit.root / "samples/seven.json").read_text())
    kit.write("samples/seven.json", json.dumps(expected | {"label": "1"}))
    kit("build")
    result = kit("serve", "--port", free_ports(5), check=False)
    assert result.returncode == 1
    assert "error[wrong-answer]" in result.stderr
    assert re.search(r"\blabel\b.*'1'.*'7'", result.stderr)
    assert result.stdout == ""


def test_a_port_in_use_is_named(empty: Kit) -> None:
    _archive(empty, "echo")
    empty("build")
    port = free_ports(5)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port + 1))
        taken.listen()
        result = empty("serve", "--port", port, check=False)
    assert result.returncode == 1
    assert "error[port-in-use]" in result.stderr
    assert str(port + 1) in result.stderr
    assert str(os.getpid()) in result.stderr


def test_metrics_are_not_shown_to_other_machines(empty: Kit) -> None:
    _archive(empty, "echo")
    empty("build")
    config = (empty.root / "config.properties").read_text()
    empty.write("config.properties", config + "metrics_address=http://0.0.0.0:8089\n")
    result = empty("serve", "--secure", check=False)
    assert result.returncode == 1
    assert "error[open-metrics]" in result.stderr
    assert "http://0.0.0.0:8089" in result.stderr


def test_with_tokens_the_kit_reads_the_key_itself(empty: Kit) -> None:
    _archive(empty, "echo")
    empty("build")
    config = (empty.root / "config.properties").read_text()
    empty.write("config.properties", config.replace("disable_token_authorization=true", ""))
    port = free_ports(5)
    empty("serve", "--background", "--port", port)
    key_file = _temporary_folder(port, empty) / "key_file.json"
    assert key_file.parent.stat().st_mode & 0o077 == 0
    assert empty.json("models")[0]["name"] == "echo"
    image = empty.root / "archives.toml"
    assert empty.json("predict", "echo", image)[0]["answer"] == "right"
    empty("stop")
    assert not key_file.exists()


def test_an_archive_that_is_not_built_names_the_next_step(kit: Kit) -> None:
    result = kit("serve", check=False)
    assert result.returncode == 1
    assert "error[archive-missing]" in result.stderr
    assert "marsmith build digits" in result.stderr


def test_a_front_end_that_is_killed_takes_its_workers_along_and_comes_back(empty: Kit) -> None:
    _archive(empty, "echo")
    empty("build")
    port = free_ports(5)
    process = _ready_in_foreground(empty, port)
    folder = _temporary_folder(port, empty)
    (model,) = empty.json("models")
    workers = [worker["pid"] for worker in model["workers"]]
    (before,) = empty.json("status")
    os.kill(before["front_end_pid"], signal.SIGKILL)

    def is_back() -> bool:
        (state,) = empty.json("status")
        return bool(state["state"] == "started, unproven" and state["restarts"] == 1)

    wait_for(is_back, "the front end to come back")
    assert not any(psutil.pid_exists(pid) for pid in workers)
    assert empty.json("predict", "echo", empty.root / "archives.toml")[0]["answer"] == "right"
    (model,) = empty.json("models")
    (worker,) = model["workers"]
    time.sleep(2.5)  # for the supervisor to have seen it
    os.kill(worker["pid"], signal.SIGKILL)
    wait_for(lambda: f"(pid {worker['pid']})" in empty("logs").stdout, "the log to say so")
    assert "signal 9" in empty("logs").stdout  # which ended the front end
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert leftovers(str(folder)) == []
    assert not folder.exists()


def test_a_second_serve_on_the_same_port_takes_nothing_from_the_first(empty: Kit) -> None:
    _archive(empty, "echo")
    empty("build")
    port = free_ports(5)
    first = empty.start("serve", "--port", port)
    wait_for((empty.root / f".marsmith/servers/{port}/serving.lock").exists, "the first to begin")
    second = empty("serve", "--port", port, check=False)
    assert second.returncode == 1
    assert "error[already-serving]" in second.stderr
    wait_for(lambda: empty.json("status")[0]["state"] == "started, unproven", "it to be ready")
    assert list((empty.root / f".marsmith/servers/{port}/archives").glob("echo-*.mar"))
    first.send_signal(signal.SIGINT)
    _, errors = first.communicate(timeout=60)
    assert first.returncode == 0, errors


def test_a_killed_marsmith_can_still_be_stopped(empty: Kit) -> None:
    _archive(empty, "echo")
    empty("build")
    port = free_ports(5)
    process = _ready_in_foreground(empty, port)
    folder = _temporary_folder(port, empty)
    process.kill()
    process.communicate()
    (state,) = empty.json("status")
    assert state["state"] == "abandoned"
    assert leftovers(str(folder))
    empty("stop")
    assert leftovers(str(folder)) == []
    assert not folder.exists()
    assert list((empty.root / f".marsmith/servers/{port}/archives").iterdir()) == []


def test_the_callers_python_path_does_not_reach_the_worker(empty: Kit, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "echo.py").write_text("raise RuntimeError('the wrong echo')\n")
    _archive(empty, "echo", "print(f'here: {dict(os.environ)}', flush=True)", "import os\n")
    empty("build")
    environment = os.environ | {
        "PYTHONPATH": str(tmp_path / "elsewhere"),
        "TS_INFERENCE_ADDRESS": "http://0.0.0.0:8080",
    }
    port = free_ports(5)
    empty("serve", "--background", "--port", port, env=environment)
    inherited = next(line for line in empty("logs").stdout.splitlines() if "here: {" in line)
    empty("stop")
    assert "'PYTHONPATH': " in inherited
    assert str(tmp_path / "elsewhere") not in inherited
    assert "TS_INFERENCE_ADDRESS" not in inherited


def test_workers_are_forked_and_come_back_where_the_fork_server_is_killed(empty: Kit) -> None:
    _archive(empty, "echo")
    empty("build")
    port = free_ports(5)
    empty("serve", "--background", "--port", port)
    folder = _temporary_folder(port, empty)

    def worker() -> psutil.Process:
        (now,) = empty.json("models")[0]["workers"]
        assert now["state"] == "READY"
        return psutil.Process(now["pid"])

    def fork_server() -> psutil.Process:
        parent = psutil.Process(worker().ppid())
        assert parent.cmdline()[1].endswith("fork_server.py")
        return parent

    def is_back() -> bool:
        try:
            return fork_server() != first
        except (AssertionError, psutil.NoSuchProcess):
            return False

    first = fork_server()
    first.kill()
    wait_for(is_back, "a fork server and its worker to come back")
    own = [json.loads(line) for line in empty("logs", "--json").stdout.splitlines()]
    assert [one for one in own if "fork server" in one["message"]]  # whose end it says
    empty("stop")
    assert leftovers(str(folder)) == []


def test_the_front_end_keeps_the_threads_that_write_to_workers(empty: Kit) -> None:
    _archive(empty, "echo")
    empty("build")
    empty("serve", "--background", "--port", free_ports(5))
    empty("predict", "echo", empty.root / "archives.toml")
    (state,) = empty.json("status")
    tasks = Path(f"/proc/{state['front_end_pid']}/task").glob("*/comm")
    names = [task.read_text().strip() for task in tasks]
    empty("stop")
    # The system cuts the name "ForkJoinPool.commonPool-worker-1".
    assert "ForkJoinPool.co" in names


def test_workers_need_not_be_forked(empty: Kit) -> None:
    _archive(empty, "echo")
    empty("build")
    empty("serve", "--background", "--no-fork", "--port", free_ports(5))
    (worker,) = empty.json("models")[0]["workers"]
    parent = psutil.Process(psutil.Process(worker["pid"]).ppid()).name()
    empty("stop")
    assert parent == "java"


def test_no_java_to_run_names_the_next_step(empty: Kit) -> None:
    _archive(empty, "echo")
    empty("build")
    environment = os.environ | {"JAVA_HOME": "/nowhere"}
    result = empty("serve", "--port", free_ports(5), check=False, env=environment)
    assert result.returncode == 1
    assert "error[java-home]" in result.stderr
    assert "/nowhere" in result.stderr


def test_one_line_per_request_is_not_logged(kit: Kit) -> None:
    kit("build")
    port = free_ports(5)
    kit("serve", "--background", "--port", port)
    logs = kit.root / ".marsmith" / "servers" / str(port)

    def size() -> int:
        return sum(path.stat().st_size for path in logs.glob("*.log"))

    before = size()
    for _ in range(5):
        kit("predict", "digits", "--port", port, kit.root / "samples/seven.png")
    assert size() == before
    kit("stop")


FUNCTION = """[archives.{name}]
version = "2"
handler = "handlers/{handler}"
runtime = "{runtime}"
serving = {{ minWorkers = 1 }}
samples = [{{ request = "in.txt", response = "out.txt" }}]
"""


def test_handlers_that_are_functions_serve(empty: Kit) -> None:
    code = "def {name}(data, context):\n    return data and ['right']\n"
    empty.write("handlers/named.py", code.format(name="predict"))
    empty.write("handlers/plain.py", code.format(name="handle"))
    named = FUNCTION.format(name="named", handler="named.py:predict", runtime="python")
    plain = FUNCTION.format(name="plain", handler="plain.py", runtime="python3")
    empty.write("archives.toml", named + plain)
    empty.write("in.txt", "anything")
    empty.write("out.txt", "right")
    empty("build")
    empty("serve", "--background", "--port", 0)
    assert empty.served() == ("ready", ["named", "plain"], [])
    empty("stop")


def _sample(kit: Kit, name: str) -> str:
    """Add a sample to a project's files, and return the lines that declare it."""
    kit.write("in.txt", "anything")
    kit.write("out.txt", "right")
    return f'samples = [{{ request = "in.txt", response = "out.txt" }}] # of {name}\n'


def test_a_sample_that_hangs_can_be_interrupted(empty: Kit) -> None:
    _archive(empty, "hang", more=_sample(empty, "hang"))
    code = (empty.root / "handlers/hang.py").read_text()
    empty.write("handlers/hang.py", code.replace("return", "__import__('time').sleep(600); return"))
    empty("build")
    port = free_ports(5)
    process = empty.start("serve", "--port", port)
    state = empty.root / f".marsmith/servers/{port}/state.json"
    wait_for(state.exists, "the server to start")
    wait_for(lambda: "READY" in empty("models", "--port", port, check=False).stdout, "the worker")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "error[" not in errors


def test_a_handler_that_raises_on_its_sample_is_named(empty: Kit) -> None:
    _archive(empty, "raises", more=_sample(empty, "raises"))
    code = (empty.root / "handlers/raises.py").read_text()
    empty.write(
        "handlers/raises.py", code.replace("return", "raise ValueError('boom')\n        return")
    )
    empty("build")
    result = empty("serve", "--port", free_ports(5), check=False)
    assert result.returncode == 1
    assert "error[wrong-answer]" in result.stderr
    assert "handlers/raises.py:6: ValueError: boom" in result.stderr


def test_a_setting_that_java_refuses_is_the_cause_that_is_named(empty: Kit) -> None:
    _archive(empty, "echo")
    empty("build")
    config = (empty.root / "config.properties").read_text()
    empty.write("config.properties", config + "number_of_netty_threads=abc\n")
    result = empty("serve", "--port", free_ports(5), check=False)
    assert result.returncode == 1
    assert "error[not-started]" in result.stderr
    assert '"abc"' in result.stderr


def test_a_project_may_lie_anywhere(tmp_path: Path) -> None:
    kit = Kit(tmp_path / "a & <b> ${c} é")
    kit.write("config.properties", "disable_token_authorization=true\n")
    kit.write("archives.toml", "")
    _archive(kit, "broken", top="import not_there\n")
    kit("build")
    result = kit("serve", "--port", free_ports(5), check=False)
    assert "handlers/broken.py:1: ModuleNotFoundError" in result.stderr


def test_a_worker_that_outlives_everyone_is_ended(empty: Kit) -> None:
    _archive(empty, "slow", "import time; time.sleep(600)")
    empty("build")
    port = free_ports(5)
    process = empty.start("serve", "--port", port)
    record = empty.root / f".marsmith/servers/{port}/state.json"
    wait_for(record.exists, "the server to start")
    folder = _temporary_folder(port, empty)
    wait_for((folder / ".ts.sock.9000").exists, "the worker to start")
    wait_for(lambda: "model_name: slow" in _log(empty, port), "the worker to load")
    front_end = json.loads(record.read_text())["front_end"][0]
    process.kill()
    os.kill(front_end, signal.SIGKILL)
    process.communicate()
    wait_for(lambda: not psutil.pid_exists(front_end), "the front end to end")
    assert empty.json("status")[0]["state"] in ("abandoned", "crashed")  # workers may be left
    empty("stop")
    assert empty.json("status") == []
    assert leftovers(str(folder)) == []
    assert not folder.exists()


def _log(kit: Kit, port: int) -> str:
    return (kit.root / f".marsmith/servers/{port}/workers.log").read_text()


def test_ones_own_model_in_five_steps(kit: Kit) -> None:
    kit.write(
        "model_defs/yours.py",
        "import torch\n\n\nclass Yours(torch.nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.head = torch.nn.Linear(3 * 8 * 8, 2)\n\n"
        "    def forward(self, x):\n        return self.head(x.flatten(1))\n",
    )
    script = (
        "import sys, torch; sys.path.insert(0, 'model_defs'); from yours import Yours;"
        "torch.manual_seed(0); torch.save(Yours().state_dict(), 'weights/yours.pth')"
    )
    subprocess.run([sys.executable, "-c", script], cwd=kit.root, check=True)
    spec = (
        '[archives.yours]\nversion = "1.0"\n'
        'handler = "handlers/marsmith_handlers/image_classifier.py"\n'
        'model_file = "model_defs/yours.py"\nserialized_file = "weights/yours.pth"\n'
        "serving = { minWorkers = 1 }\n"
        "handler_config = { size = [8, 8], mean = [0.5, 0.5, 0.5], std = [0.2, 0.2, 0.2] }\n"
    )
    kit.write("archives.toml", spec)
    kit("build", "yours")
    port = free_ports(5)
    unproven = kit("serve", "yours", "--background", "--port", port)
    assert "warning[no-sample]" in unproven.stderr
    assert kit.served() == ("started, unproven", [], ["yours"])
    image = kit.root / "samples" / "three-photo.jpg"
    url = f"http://127.0.0.1:{port}/predictions/yours"
    answer = kit.root / "samples" / "yours.json"
    subprocess.run(["curl", "--silent", url, "-T", image, "-o", answer], check=True)
    assert set(json.loads(answer.read_text())["probabilities"]) == {"0", "1"}
    kit("stop")
    samples = (
        'samples = [{ request = "samples/three-photo.jpg", response = "samples/yours.json" }]\n'
    )
    kit.write("archives.toml", spec + samples)
    kit("build", "yours")
    proven = kit("serve", "yours", "--background", "--port", port)
    assert kit.served() == ("ready", ["yours"], [])
    assert proven.stderr == ""
