"""A gateway whose model takes as long as it is told, and a receiver of webhooks."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil

from marsmith.answers.messages import Response
from marsmith.core.processes import have_ended
from marsmith.project.project import Project
from marsmith.server.state import running_servers
from marsmith.torchserve.ports import free_ports
from tests.integration.kit import Kit, wait_for

PREDICT = "/models/work/predict"
ASYNC = {"Prefer": "respond-async"}
HANDLER = """\
import json, time


class Handler:
    def initialize(self, context):
        pass

    def handle(self, data, context):
        return [self.answer(row["body"], context) for row in data]

    def answer(self, body, context):
        told = body if isinstance(body, dict) else json.loads(bytes(body))
        if "note" in told:
            with open(told["note"], "a") as file:
                file.write("begun\\n")
        time.sleep(told.get("sleep", 0))
        if "raise" in told:
            raise RuntimeError(told["raise"])
        context.set_response_content_type(0, "text/plain")
        return told.get("say", "nothing") * told.get("times", 1)
"""
SPEC = """\
[archives.work]
version = "1.0"
handler = "handlers/work.py"

[archives.work.serving]
minWorkers = 2
maxWorkers = 2
maxBatchDelay = 1

[gateway.jobs]
"""


def work_project(root: Path, jobs: str) -> Kit:
    """Make a project with `jobs` as its table [gateway.jobs], built."""
    kit = Kit(root)
    kit.write("handlers/work.py", HANDLER)
    kit.write("archives.toml", SPEC + jobs)
    kit.write("config.properties", "")
    kit("build")
    return kit


@dataclass(frozen=True)
class Gateway:
    """One that runs."""

    kit: Kit
    port: int
    token: str = ""
    options: tuple[str, ...] = ()

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Response:
        """Send one request, with the key if there is one."""
        key = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body or None, key | dict(headers or {}))
            said = connection.getresponse()
            got = {name.lower(): value for name, value in said.getheaders()}
            return Response(said.status, said.reason, got, said.read())
        finally:
            connection.close()

    def submit(self, query: str = "", **told: Any) -> str:
        """Send a job; return its path."""
        said = self.ask("POST", PREDICT + query, json.dumps(told).encode(), ASYNC)
        assert said.status == 202, said.body
        return said.headers["location"]

    def job(self, path: str) -> Any:
        """Return what is told of a job."""
        return self.ask("GET", path).json()

    def ended(self, path: str) -> Any:
        """Wait until a job has ended."""
        open_ = ("queued", "running")
        wait_for(lambda: self.job(path)["state"] not in open_, f"{path} to end", 40)
        return self.job(path)

    @property
    def pids(self) -> tuple[int, int]:
        """The supervisor and the web process."""
        (state,) = [one for one in running_servers(Project(self.kit.root)) if one.port == self.port]
        return state.supervisor[0], state.front_end[0]

    def kill(self, *, whole: bool) -> None:
        """Kill the web process, or the supervisor first."""
        supervisor, web = self.pids
        killed = [psutil.Process(pid) for pid in ((supervisor, web) if whole else (web,))]
        for process in killed:
            process.kill()
        assert have_ended(killed, patience=10)

    def start(self, env: Mapping[str, str] | None = None) -> None:
        """Start it."""
        options = ("--backend", "local", "--port", str(self.port), "--background", *self.options)
        self.kit("gateway", "work", *options, env=os.environ | dict(env or {}))

    def stop(self) -> None:
        """Stop it."""
        self.kit("stop", "--port", self.port)


@contextmanager
def a_gateway(
    kit: Kit, *options: str, token: str = "", env: Mapping[str, str] | None = None
) -> Iterator[Gateway]:
    """Run one."""
    gateway = Gateway(kit, free_ports(2), token, options)
    gateway.start(env)
    try:
        yield gateway
    finally:
        gateway.stop()


def curl(*words: str) -> subprocess.CompletedProcess[bytes]:
    """Run curl."""
    return subprocess.run(["curl", "-s", *words], capture_output=True, timeout=60, check=False)


@dataclass
class Receiver:
    """What a server of webhooks got; it answers with `statuses` in turn, then with 200."""

    port: int = 0
    statuses: list[int] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it takes them."""
        return f"http://127.0.0.1:{self.port}/hook"


@contextmanager
def a_receiver() -> Iterator[Receiver]:
    """Run one."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.got.append((headers, body))
            status = receiver.statuses.pop(0) if receiver.statuses else 200
            self.send_response(status)
            if status == 302:
                self.send_header("location", receiver.url)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.port = server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
