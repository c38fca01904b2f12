"""ASGI middleware: counts, logs and traces each request. The outermost one."""

from __future__ import annotations

from collections.abc import Iterable
from time import perf_counter

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from marsmith.gateway.access.access_log import AccessLog
from marsmith.gateway.access.facts import CURRENT, Facts
from marsmith.gateway.access.heads import head_of
from marsmith.gateway.access.metrics import Metrics
from marsmith.gateway.access.spans import Spans
from marsmith.gateway.access.traces import trace_of

# By the first part of the path: who speaks the protocol that a request is in.
_FACES = {
    "models": "torchserve",
    "predictions": "torchserve",
    "explanations": "torchserve",
    "v1": "kserve",
    "v2": "oip",
    "ping": "torchserve",
    "metrics": "metrics",
}
_GONE = 499  # the caller did not wait for its answer
_PARENT, _STATE = b"traceparent", b"tracestate"
Headers = Iterable[tuple[bytes, bytes]]


class Observe:
    """Puts a request's Facts into its state, and tells what became of it."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, log: AccessLog | None, spans: Spans | None
    ) -> None:
        """Stand before all else."""
        self._app = app
        self._metrics = metrics
        self._log = log
        self._spans = spans

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = perf_counter()
        facts = self._facts(scope)
        CURRENT.set(facts)
        self._metrics.begun()

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                facts.status = message["status"]
            else:
                facts.sent_bytes += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except ClientDisconnect:
            facts.status = facts.status or _GONE
        finally:
            self._ended(facts, perf_counter() - begun)

    def _facts(self, scope: Scope) -> Facts:
        path = scope["path"]
        head = head_of(scope["headers"])
        face = _face_of(path)
        facts = Facts(scope["method"], path, face, head, trace_of(head.text(b"traceparent")))
        if self._spans is not None:
            self._spans.begin(facts)
        scope["headers"] = _traced(scope["headers"], facts)
        state = scope.setdefault("state", {})
        state["facts"], state["request_id"] = facts, facts.id
        return facts

    def _ended(self, facts: Facts, seconds: float) -> None:
        status = facts.status or 500
        self._metrics.ended(facts.model, facts.version, facts.face, status, seconds)
        if self._log is not None:
            self._log.note(facts, seconds)
        if self._spans is not None:
            self._spans.end(facts)


def _face_of(path: str) -> str:
    if path.endswith("/predict") and path.startswith("/models/"):
        return "marsmith"
    return _FACES.get(path[1:].partition("/")[0], "other")


def _traced(headers: Headers, facts: Facts) -> list[tuple[bytes, bytes]]:
    """Name the gateway's span as the one that asks the worker. Other tracers' state goes along."""
    own = (_PARENT, facts.trace.header.encode())
    if _PARENT not in facts.head:
        return [*(one for one in headers if one[0] != _STATE), own]
    dropped = (_PARENT,) if facts.trace.parent else (_PARENT, _STATE)
    return [*(one for one in headers if one[0] not in dropped), own]
