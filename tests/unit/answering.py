"""A real HTTP server on a free loopback port, that answers as it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Request:
    method: str
    path: str
    body: bytes
    content_type: str | None


class Server(ThreadingHTTPServer):
    """Answers a request with the next of its path's replies; the last one is given for good."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies: dict[str, list[Reply]] = {}
        self.requests: list[Request] = []
        self.released = threading.Event()  # these paths, and all that start with /slow, wait for it
        self.silent: set[str] = set()
        # The key that each path wants, and what is said without it.
        self.guard: tuple[dict[str, str], bytes] = {}, b""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def reply(self, path: str, *values: Any, status: int = 200) -> None:
        self.replies[path] = [Reply(status, json.dumps(value).encode()) for value in values]

    @property
    def paths(self) -> list[str]:
        return [f"{request.method} {request.path}" for request in self.requests]


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        content_type = self.headers.get("content-type")
        self.server.requests.append(Request(self.command, self.path, body, content_type))
        if self.path.startswith("/slow") or self.path in self.server.silent:
            self.server.released.wait(10)
        replies = self.server.replies.get(self.path, [Reply(404, b"{}")])
        keys, refusal = self.server.guard
        key = keys.get(self.path)
        if key and self.headers.get("authorization") != f"Bearer {key}":
            replies = [Reply(400, refusal)]
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        self.send_response(reply.status)
        self.send_header("content-type", reply.content_type)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if "content-length" not in reply.headers:
            self.send_header("content-length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 (the names http.server calls)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def answering() -> Iterator[Server]:
    """Run a server in a thread."""
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield running
        finally:
            running.released.set()
            running.shutdown()
            thread.join()
