"""What a server shows of itself: metrics, status, top, logs, and what monitoring/ asks of it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import shutil
import signal
import socket
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import promql_parser
import pytest
import yaml

from marsmith.torchserve.metrics_text import Scrape, parse_metrics
from marsmith.torchserve.ports import free_ports
from tests.integration.kit import BIN, ROOT, Served, wait_for
from tests.projects import ECHO_SPEC, copy_project

# A classifier that fails on pictures of one pixel, and a handler that counts nothing.
FAILING = """\
from digit_classifier import DigitClassifier


class Failing(DigitClassifier):
    def prepare(self, picture):
        if picture.size == (1, 1):
            raise ValueError('"no" room for größe \\\\ {}')
        return super().prepare(picture)
"""
FOREIGN = """\
class Handler:
    def initialize(self, context):
        print("loaded: größe, \\"quoted\\"")

    def handle(self, data, context):
        body = bytes(data[0].get("body") or b"").decode()
        if "fail" in body:
            raise RuntimeError(f'"nö" to {body}')
        return ["right"] * len(data)
"""
SEVEN = (ROOT / "samples/seven.png").read_bytes()
ONE_PIXEL = b"P5 1 1 255\n\x00"
MONITORING = ROOT / "monitoring"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    kit = copy_project(tmp_path_factory.mktemp("seeing"))
    kit.write("handlers/failing.py", FAILING)
    kit.write("handlers/echo.py", FOREIGN)
    spec = (kit.root / "archives.toml").read_text()
    spec = spec.replace(
        'handler = "handlers/digit_classifier.py"', 'handler = "handlers/failing.py"'
    )
    spec = spec.replace(
        "extra_files = [", 'extra_files = [\n    "handlers/digit_classifier.py",', 1
    )
    kit.write("archives.toml", f"{spec}\n{ECHO_SPEC}")
    kit("build")
    port = free_ports(5)
    kit("serve", "--background", "--port", port, "--log-format", "json")
    yield Served(kit, port)
    kit("stop", "--port", port)


def scrape(served: Served) -> Scrape:
    return parse_metrics(httpx2.get(served.url("/metrics", 2)).text)


def ask(served: Served, model: str, body: bytes) -> int:
    url, headers = served.url(f"/predictions/{model}"), {"Content-Type": "image/png"}
    return httpx2.post(url, content=body, headers=headers).status_code


def traffic(served: Served) -> None:
    """Requests of all kinds: right, refused, failing in the handler and in front of it."""
    assert [ask(served, "digits", SEVEN) for _ in range(6)] == [200] * 6
    assert [ask(served, "digits", b"no picture") for _ in range(3)] == [400] * 3
    assert [ask(served, "digits", ONE_PIXEL) for _ in range(2)] == [500] * 2
    assert [ask(served, "echo", b"x"), ask(served, "echo", b"fail")] == [200, 503]
    assert ask(served, "nobody", b"x") == 404


def test_the_metrics_say_what_was_asked_and_answered(served: Served) -> None:
    def count(now: Scrape, name: str, **labels: str) -> float:
        wanted = {"model_name": "digits", "model_version": "1.0", **labels}.items()
        return now.total(name, lambda at: wanted <= at.items()) or 0.0

    def told(now: Scrape) -> bool:
        asked = now.total("ts_inference_requests_total", lambda at: at["model_name"] == "digits")
        return asked == count(now, "handler_request_seconds_count")

    wait_for(lambda: told(scrape(served)), "the worker to tell of the samples", 10)
    before = scrape(served)
    traffic(served)

    def grown(name: str, **labels: str) -> float:
        return count(scrape(served), name, **labels) - count(before, name, **labels)

    wait_for(lambda: told(scrape(served)), "the worker to tell", 10)
    assert grown("handler_request_seconds_count") == 11
    assert grown("handler_requests_total", status="200") == 6
    assert grown("handler_requests_total", status="400") == 3
    assert grown("handler_requests_total", status="500") == 2
    assert grown("handler_pictures_total") == 6
    assert grown("handler_decode_failures_total") == 3
    assert grown("handler_batches_total") == 11
    assert grown("handler_request_seconds_bucket", le="+Inf") == 11
    for stage in ("preprocess", "inference", "postprocess"):
        assert 0 < grown("handler_stage_seconds_total", stage=stage) < 60
    assert abs(time.time() - count(scrape(served), "handler_last_seen_timestamp_seconds")) < 60
    assert count(scrape(served), "handler_worker_starts_total") == 1


def test_status_says_how_each_model_does_and_what_is_not_counted(served: Served) -> None:
    traffic(served)
    time.sleep(2.5)  # handlers tell once a second
    (server,) = served.kit.json("status")
    assert server["health"] == "Healthy"
    assert server["since_start"]
    assert server["failed"] >= 3
    digits, echo = server["served"]
    assert (digits["name"], digits["ready_workers"], digits["queue"]) == ("digits", 1, 0)
    assert digits["requests"] >= 11
    assert digits["failed"] >= 2
    assert 0 < digits["p50_ms"] <= digits["p99_ms"] < 60_000
    assert digits["queue_ms"] > 0
    assert echo["requests"] >= 2  # the front end counts them
    assert [echo[key] for key in ("refused", "failed", "batch", "p50_ms", "p99_ms")] == [None] * 5
    text = served.kit("status").stdout
    (line,) = [line for line in text.splitlines() if line.startswith("echo ")]
    assert line.split()[8:10] == ["-", "-"]


def test_status_counts_for_an_interval(served: Served) -> None:
    sent = 0
    with served.kit.start("status", "--json", "--interval", "4") as process:
        while process.poll() is None:
            sent += ask(served, "digits", SEVEN) == 200
            time.sleep(0.05)
        (server,) = json.loads(process.communicate(timeout=60)[0])
    digits = next(model for model in server["served"] if model["name"] == "digits")
    assert not server["since_start"]
    assert 4 <= server["seconds"] < 60
    assert 0 < digits["requests"] <= sent
    assert digits["per_second"] == pytest.approx(digits["requests"] / server["seconds"])


def test_a_server_that_hangs_is_named_so(served: Served) -> None:
    (state,) = served.kit.json("status")
    os.kill(state["front_end_pid"], signal.SIGSTOP)
    try:
        (hanging,) = served.kit.json("status")
        assert hanging["trouble"]
        assert hanging["served"] == []
        assert hanging["trouble"] in served.kit("status").stdout
    finally:
        os.kill(state["front_end_pid"], signal.SIGCONT)
    wait_for(lambda: not served.kit.json("status")[0]["trouble"], "the server to go on")


def test_top_prints_one_frame_into_a_pipe(served: Served) -> None:
    frame = served.kit("top").stdout
    assert "\x1b" not in frame
    assert "healthy" in frame
    assert {"digits", "echo"} <= {line.split()[0] for line in frame.splitlines() if line.split()}


def _in_the_foreground() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the caller may ignore it


@pytest.mark.parametrize("key", [b"q", b"\x03"], ids=["q", "Ctrl-C"])
def test_top_ends_and_leaves_the_terminal_as_it_was(served: Served, key: bytes) -> None:
    own, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(terminal)
    command = [str(BIN / "marsmith"), "--project", str(served.kit.root), "top"]
    process = subprocess.Popen(
        command,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=os.environ | {"TERM": "xterm-256color"},
        start_new_session=True,
        preexec_fn=_in_the_foreground,
    )
    seen = b""
    while b"q ends" not in seen:
        seen += os.read(own, 65536)
    os.write(own, key)
    while not seen.endswith(b"\x1b[?1049l"):  # the screen that was there before
        seen += os.read(own, 65536)
    assert process.wait(30) == 0
    assert b"digits" in seen
    assert b"Traceback" not in seen
    assert termios.tcgetattr(terminal) == before
    os.close(own)
    os.close(terminal)


def test_every_line_of_the_json_logs_is_json(served: Served) -> None:
    traffic(served)
    with socket.create_connection(("127.0.0.1", served.port)) as plain:  # the front end logs it
        plain.sendall(b"GET /%zz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b" 403 " in plain.recv(4096)
    folder = served.kit.root / ".marsmith" / "servers" / str(served.port)
    for name in ("server.log", "workers.log"):
        lines = (folder / name).read_text().splitlines()
        found = [json.loads(line) for line in lines]
        assert found
        assert all(line["time"] and line["thread"] for line in found)
    messages = [line["message"] for line in found]
    assert 'loaded: größe, "quoted"' in messages
    assert 'RuntimeError: "nö" to fail' in messages


def test_logs_show_a_traceback_as_one_entry_with_the_projects_files(served: Served) -> None:
    ask(served, "digits", ONE_PIXEL)

    def failures() -> list[dict[str, Any]]:
        output = served.kit("logs", "digits", "--json").stdout
        entries = [json.loads(line) for line in output.splitlines()]
        assert {entry["model"] for entry in entries} == {"digits"}
        return [entry for entry in entries if "größe" in entry["message"]]

    wait_for(lambda: bool(failures()), "the log", 10)
    lines = failures()[0]["message"].splitlines()
    assert lines[0].startswith("The model failed on request ")
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == 'ValueError: "no" room for größe \\ {}'
    assert any('File "handlers/failing.py", line 7, in prepare' in line for line in lines)
    assert any('File "handlers/marsmith_handlers/image_handler.py"' in line for line in lines)
    assert "/models/" not in failures()[0]["message"]
    output = served.kit("logs", "echo").stdout
    assert "failing.py" not in output
    assert "Torch worker started" not in output
    assert "nobody is" not in served.kit("logs", "nobody-is", check=False).stdout


def test_logs_follow_until_ctrl_c(served: Served) -> None:
    last = 'RuntimeError: "nö" to fail again\n'
    with served.kit.start("logs", "--follow", "--tail", "1", "echo") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline()]  # it has begun: this is of what was there
        assert ask(served, "echo", b"fail again") == 503
        while lines[-1] != last:
            lines.append(process.stdout.readline())
            assert lines[-1], "it ended"
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=30)
    begin = len(lines) - lines[::-1].index("Traceback (most recent call last):\n") - 1
    assert "Invoking custom service failed." in lines[begin - 1]
    assert any('File "handlers/echo.py", line 8, in handle' in line for line in lines[begin:])
    assert rest == errors == ""
    assert process.returncode == 0


# ---- monitoring/


def expressions() -> list[Any]:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    panels = [
        pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")
        for panel in dashboard["panels"]
        for target in panel["targets"]
    ]
    groups = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    rules = [pytest.param(rule["expr"], id=rule["alert"]) for g in groups for rule in g["rules"]]
    return panels + rules


def filled(expression: str) -> str:
    """Put in what Grafana puts in for its variables."""
    return expression.replace("$__rate_interval", "10s").replace("$model", ".*")


def selectors(node: Any) -> Iterator[Any]:
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("expr", "lhs", "rhs", "vector_selector", "vs"):
        if (child := getattr(node, name, None)) is not None:
            yield from selectors(child)
    for child in getattr(node, "args", None) or ():
        yield from selectors(child)


@pytest.mark.parametrize("expression", expressions())
def test_every_expression_asks_for_metrics_that_the_server_has(
    served: Served, expression: str
) -> None:
    traffic(served)
    now = scrape(served)
    asked = list(selectors(promql_parser.parse(filled(expression))))
    assert asked
    for selector in asked:
        if selector.name == "up":  # Prometheus' own
            continue
        labels = {matcher.name for matcher in selector.matchers.matchers}
        assert any(labels <= at.keys() for at, _ in now.of(selector.name)), selector.name


needs_prometheus = pytest.mark.skipif(
    not shutil.which("prometheus"), reason="no prometheus in PATH: apt-get install prometheus"
)


@pytest.fixture(scope="module")
def prometheus(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus with our rules that has scraped the server while it was asked."""
    folder = tmp_path_factory.mktemp("prometheus")
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{served.port + 2}"]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    shutil.copy(MONITORING / "alerts.yml", folder)
    port = free_ports(1)
    command = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
    command.append(f"--web.listen-address=127.0.0.1:{port}")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}/api/v1"
        for _ in range(8):
            traffic(served)
            time.sleep(1)
        wait_for(lambda: bool(values(url, 'up{job="marsmith"}')), "the first scrape")
        yield url
    finally:
        process.terminate()
        process.wait(30)


def values(url: str, expression: str) -> list[float]:
    try:
        answer = httpx2.get(f"{url}/query", params={"query": expression}).json()
    except httpx2.TransportError:
        return []
    assert answer["status"] == "success", answer
    return [float(found["value"][1]) for found in answer["data"]["result"]]


@needs_prometheus
@pytest.mark.parametrize("expression", expressions())
def test_no_panel_and_no_rule_is_without_data(
    served: Served, prometheus: str, expression: str
) -> None:
    # A rule's expression has values only when it fires: what it compares is looked at.
    text = filled(expression)
    parsed: Any = promql_parser.parse(text)
    if str(getattr(parsed, "op", "")) in (">", "=="):
        text = str(parsed.lhs.prettify())
    found: list[float] = []

    def data() -> bool:
        traffic(served)  # rates are of the last seconds
        found[:] = values(prometheus, text)
        return any(value == value for value in found)  # NaN is none

    wait_for(data, text, 30)
    assert all(value >= 0 for value in found if value == value)


@needs_prometheus
def test_prometheus_takes_the_rules(prometheus: str) -> None:
    ours = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]
    assert [rule["name"] for rule in rules_of(prometheus)] == [rule["alert"] for rule in ours]
    wait_for(lambda: all(r["health"] == "ok" for r in rules_of(prometheus)), "their evaluation")


def rules_of(url: str) -> list[dict[str, Any]]:
    groups = httpx2.get(f"{url}/rules").json()["data"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.mark.skipif(not shutil.which("promtool"), reason="no promtool in PATH")
def test_promtool_finds_nothing_wrong() -> None:
    for what, name in (("rules", "alerts.yml"), ("config", "prometheus.yml")):
        command = ["promtool", "check", what, str(MONITORING / name)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
