"""ASGI middleware: counts, logs and traces each request. The outermost one."""

from __future__ import annotations

import asyncio
from time import perf_counter

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from marsmith.gateway.observe.access_log import AccessLog
from marsmith.gateway.observe.facts import CURRENT, Facts, Headers, head_of, trace_of
from marsmith.gateway.observe.metrics import Metrics
from marsmith.gateway.observe.spans import Spans

# By the first part of the path: who speaks the protocol that a request is in.
_FACES = {"v1": "kserve", "v2": "oip", "metrics": "metrics", "jobs": "jobs", "uploads": "jobs"}
_FACES |= dict.fromkeys(("models", "predictions", "explanations", "ping"), "torchserve")
_GONE = 499  # the caller did not wait for its answer
_PARENT, _STATE = b"traceparent", b"tracestate"


class Observer:
    """Counts, logs and traces requests, whatever they come over."""

    def __init__(self, log: AccessLog | None = None, spans: Spans | None = None) -> None:
        """Count from zero."""
        self.metrics = Metrics()
        self._log = log
        self._spans = spans

    def begin(self, method: str, path: str, face: str, headers: Headers) -> Facts:
        """Return the facts of a request that begins, which are those of the running task."""
        head = head_of(headers)
        facts = Facts(method, path, face, head, trace_of(head.get(_PARENT, b"").decode("latin-1")))
        self.metrics.begun()
        if self._spans is not None:
            self._spans.begin(facts)
        CURRENT.set(facts)
        return facts

    def end(self, facts: Facts) -> None:
        """Tell what became of it."""
        seconds = perf_counter() - facts.begun
        self.metrics.ended(facts.model, facts.version, facts.face, facts.status, seconds)
        if self._log is not None:
            self._log.note(facts, seconds)
        if self._spans is not None:
            self._spans.end(facts)

    def close(self) -> None:
        """Write and send what waits."""
        if self._log is not None:
            self._log.flush()
        if self._spans is not None:
            self._spans.close()


class Observe:
    """The middleware: puts a request's Facts into its state."""

    def __init__(self, app: ASGIApp, observer: Observer) -> None:
        """Stand before all else."""
        self._app = app
        self._observer = observer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        facts = self._begun(scope)

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                facts.status = message["status"]
            else:
                facts.sent_bytes += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except (ClientDisconnect, asyncio.CancelledError):
            facts.status = _GONE
        finally:
            facts.status = facts.status or 500
            self._observer.end(facts)

    def _begun(self, scope: Scope) -> Facts:
        path, given = scope["path"], scope["headers"]
        face = _FACES.get(path[1:].partition("/")[0], "other")
        if path.endswith("/predict") and face == "torchserve":
            face = "marsmith"
        facts = self._observer.begin(scope["method"], path, face, given)
        # The worker hears of the gateway's span. Other tracers' state goes along with its trace.
        dropped = (_PARENT,) if facts.trace.parent else (_PARENT, _STATE)
        headers = [one for one in given if one[0] not in dropped]
        scope["headers"] = [*headers, (_PARENT, facts.trace.header.encode())]
        scope.setdefault("state", {}).update(facts=facts, request_id=facts.id)
        return facts
