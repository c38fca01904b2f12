"""A gateway that other machines could reach: keys, TLS and logs, with curl as the caller."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest

from marsmith.torchserve.ports import free_ports
from tests.integration.kit import Kit, wait_for
from tests.projects import copy_echo

PREDICT = "/models/echo/predict"


@dataclass(frozen=True)
class Gateway:
    """A gateway that runs."""

    kit: Kit
    port: int
    spans: list[bytes]  # what a collector of OpenTelemetry got

    @property
    def logs(self) -> Path:
        """The folder of its logs."""
        return self.kit.root / ".marsmith" / "servers" / str(self.port)

    def curl(self, path: str, *words: str, headers: tuple[str, ...] = ()) -> str:
        """Return the status that curl gets; headers go over its standard input."""
        certificate = self.kit.root / ".marsmith" / "tls" / "development.pem"
        url = f"https://127.0.0.1:{self.port}{path}"
        command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", "@-"]
        result = subprocess.run(
            [*command, "--cacert", str(certificate), *words, url],
            input="\n".join(headers),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return result.stdout


@pytest.fixture(scope="module")
def collector() -> Iterator[tuple[int, list[bytes]]]:
    got: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = HTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port, got
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def token(kit: Kit) -> str:
    return kit("gateway", "key", "add", "ci", "--scope", "predict:echo").stdout.strip()


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    return copy_echo(tmp_path_factory.mktemp("access"))


@pytest.fixture(scope="module")
def gateway(kit: Kit, token: str, collector: tuple[int, list[bytes]]) -> Iterator[Gateway]:
    """At all addresses of this machine."""
    del token  # without a key it would not start
    port = free_ports(2)
    told = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector[0]}",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    options = ("--host", "0.0.0.0", "--tls", "--otel", "--port", port, "--background")
    kit("gateway", "echo", *options, env=os.environ | told)
    yield Gateway(kit, port, collector[1])
    kit("stop", "--port", port)


def bearer(token: str) -> tuple[str, ...]:
    return (f"Authorization: Bearer {token}",)


def test_where_others_reach_it_every_request_needs_a_key(gateway: Gateway, token: str) -> None:
    assert gateway.curl(PREDICT, "-d", "x") == "401"
    assert gateway.curl("/models") == "401"
    assert gateway.curl(PREDICT, "-d", "x", headers=bearer(token)) == "200"
    assert gateway.curl("/predictions/echo", "-T", "/dev/null", headers=bearer(token)) == "200"
    assert gateway.curl("/models/echo", "-X", "DELETE", headers=bearer(token)) == "403"
    assert gateway.curl("/ping") == "200"


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("--tls-max", "1.1", "--tlsv1.0", "--ciphers", "DEFAULT@SECLEVEL=0"), "000"),
        (("--tls-max", "1.2"), "200"),
        (("--tlsv1.3",), "200"),
    ],
)
def test_tls_1_2_and_1_3_alone(gateway: Gateway, words: tuple[str, ...], status: str) -> None:
    assert gateway.curl("/ping", *words) == status


def test_marsmiths_own_commands_have_a_key_of_their_own(gateway: Gateway) -> None:
    (state,) = gateway.kit.json("status")
    assert state["models"] == ["echo"]
    gateway.kit("scale", "echo", "1", "--port", gateway.port)
    assert gateway.kit.json("models", "--port", gateway.port)


def test_a_key_is_good_from_when_it_is_made_until_it_is_revoked(gateway: Gateway) -> None:
    made = gateway.kit("gateway", "key", "add", "guest", "--scope", "predict").stdout.strip()
    assert gateway.curl(PREDICT, "-d", "x", headers=bearer(made)) == "200"
    gateway.kit("gateway", "key", "revoke", "guest")
    wait_for(lambda: gateway.curl(PREDICT, "-d", "x", headers=bearer(made)) == "401", "401", 3)


def test_no_secret_is_in_a_log_or_in_ps(gateway: Gateway, token: str) -> None:
    gateway.curl(f"{PREDICT}?key={token}", "-d", "bo-dy", headers=(*bearer(token), "Cookie: co-ok"))
    own = json.loads((key_file(gateway)).read_text())["management"]["key"]
    wait_for(lambda: "/models/echo/predict" in (gateway.logs / "access.log").read_text(), "a line")
    texts = [path.read_bytes() for path in gateway.logs.iterdir() if path.is_file()]
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            texts.append("\0".join(process.cmdline()).encode())
    for secret in (token, own, "bo-dy", "co-ok"):
        assert not any(secret.encode() in text for text in texts)
    assert (gateway.logs / "access.log").stat().st_mode & 0o777 == 0o600


def key_file(gateway: Gateway) -> Path:
    state = json.loads((gateway.logs / "state.json").read_text())
    return Path(state["folder"]) / "key_file.json"


def test_spans_come_to_a_collector(gateway: Gateway, token: str) -> None:
    sent = (*bearer(token), "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    assert gateway.curl(PREDICT, "-d", "x", headers=sent) == "200"
    trace = bytes.fromhex("0af7651916cd43dd8448eb211c80319c")
    wait_for(lambda: any(trace in one for one in gateway.spans), "a span", 10)


def test_keys_are_asked_for_after_the_web_process_was_killed(gateway: Gateway, token: str) -> None:
    state = json.loads((gateway.logs / "state.json").read_text())
    os.kill(state["front_end"][0], signal.SIGKILL)
    wait_for(lambda: gateway.curl(PREDICT, "-d", "x", headers=bearer(token)) == "200", "200", 20)
    assert gateway.curl(PREDICT, "-d", "x") == "401"


def test_others_cannot_reach_it_without_tls_or_keys(tmp_path: Path) -> None:
    kit = copy_echo(tmp_path)
    port = ("--port", str(free_ports(2)), "--background")
    result = kit("gateway", "echo", "--host", "0.0.0.0", *port, check=False)
    assert "error[open-without-tls]" in result.stderr
    result = kit("gateway", "echo", "--host", "0.0.0.0", "--tls", *port, check=False)
    assert "error[open-without-keys]" in result.stderr
    assert kit.json("status") == []
