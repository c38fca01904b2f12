"""A gateway's application over a back end that answers at once, behind real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import uvicorn
import uvloop

from marsmith.answers.messages import Response
from marsmith.client.description import Model
from marsmith.gateway.access.connection_guard import ConnectionLimits
from marsmith.gateway.access.guards import Guards, server_config
from marsmith.gateway.app import application
from marsmith.gateway.backend import Answer, Call, Registration
from tests.unit.gateway.backends import Models, model

HTTP = {"inference_address": "http://127.0.0.1"}


class EchoBackend(Models):
    """Answers what it was sent, as `echo` and `other` 1.0; what it was asked is in `calls`."""

    def __init__(self) -> None:
        echo = replace(model("echo"), pending_requests=3)
        super().__init__([echo, replace(echo, name="other")], name="echo")
        self.done: list[str] = []
        self.cancelled: list[Call] = []
        self.content_type = "text/plain"
        self.pause: threading.Event | None = None  # answers wait for it

    async def predict(self, call: Call) -> Answer:
        body = call.request.body or b"nothing"
        self.says = Response(200, "OK", {"content-type": self.content_type}, body)
        answer = await super().predict(call)
        try:
            while self.pause is not None and not self.pause.is_set():
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.cancelled.append(call)
            raise
        return replace(answer, queued=0.25, computed=0.5, batch=2)

    async def describe(self, model: str, version: str | None = None) -> Model:
        del version  # it has all of them
        return await super().describe(model)

    async def register(self, given: Registration) -> Model:
        self.done.append(f"register {given.url}")
        return await self.describe("echo")

    async def unregister(self, model: str, version: str | None = None) -> None:
        self.done.append(f"unregister {model} {version}")

    async def scale(
        self, model: str, version: str | None, least: int, most: int, *, wait: bool
    ) -> Model:
        self.done.append(f"scale {model} {version} {least} {most}")
        return await super().scale(model, version, least, most, wait=wait)

    async def set_default(self, model: str, version: str) -> None:
        self.done.append(f"set_default {model} {version}")


@dataclass(frozen=True)
class Said:
    """An answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes
    ended: bool = False  # whether the gateway closed the connection after it

    @property
    def code(self) -> str:
        """The code of a problem."""
        return str(json.loads(self.body)["code"])


@dataclass
class Door:
    """A running gateway."""

    port: int
    backend: EchoBackend
    guards: Guards

    def raw(self, data: bytes, patience: float = 0.3) -> list[Said]:
        """Send bytes; return the answers, until it closes or is silent for so long."""
        with self.connected() as connection:
            connection.sendall(data)
            return answers(connection, patience)

    def ask(
        self,
        method: str = "POST",
        path: str = "/models/echo/predict",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Said:
        """Send one request and return its answer."""
        sent = {"Host": f"127.0.0.1:{self.port}", "Connection": "close"} | dict(headers or {})
        if body:
            sent["Content-Length"] = str(len(body))
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
        (said,) = self.raw("\r\n".join([*lines, "", ""]).encode("latin-1") + body, 5.0)
        return said

    @contextmanager
    def connected(self) -> Iterator[socket.socket]:
        """Connect."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            yield connection


def answers(connection: socket.socket, patience: float) -> list[Said]:
    """Read answers until the connection is closed, or silent for so long."""
    connection.settimeout(patience)
    received, ended = b"", False
    try:
        while part := connection.recv(65536):
            received += part
        ended = True
    except TimeoutError:
        pass
    except ConnectionError:
        ended = True
    found = []
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        length = int(headers.get("content-length", 0))
        found.append(Said(int(lines[0].split()[1]), headers, received[:length]))
        received = received[length:]
    return [*found[:-1], replace(found[-1], ended=ended)] if found else []


@contextmanager
def a_door(
    guards: Guards | None = None,
    limits: ConnectionLimits | None = None,
    properties: Mapping[str, str] = HTTP,
    **options: Any,
) -> Iterator[Door]:
    """Serve the application in a thread."""
    guards = guards or Guards()
    backend = EchoBackend()
    config = server_config(application(backend, guards, **options), guards, properties)
    config.limits = limits or config.limits
    config.timeout_keep_alive = config.limits.idle_time
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(config)

    def run() -> None:
        uvloop.run(server.serve([listener]))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield Door(listener.getsockname()[1], backend, guards)
    finally:
        server.should_exit = True
        if backend.pause is not None:
            backend.pause.set()
        thread.join()
        listener.close()
