"""ASGI middleware: counts, logs and traces each request. The outermost one."""

from __future__ import annotations

import asyncio
from time import perf_counter

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from marsmith.gateway.observe.access_log import AccessLog
from marsmith.gateway.observe.facts import CURRENT, Facts, head_of, trace_of
from marsmith.gateway.observe.metrics import Metrics
from marsmith.gateway.observe.spans import Spans

# By the first part of the path: who speaks the protocol that a request is in.
_FACES = {"v1": "kserve", "v2": "oip", "metrics": "metrics"}
_FACES |= dict.fromkeys(("models", "predictions", "explanations", "ping"), "torchserve")
_GONE = 499  # the caller did not wait for its answer
_PARENT, _STATE = b"traceparent", b"tracestate"


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
        facts = self._begun(scope)
        CURRENT.set(facts)

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
            self._ended(facts, perf_counter() - begun)

    def _begun(self, scope: Scope) -> Facts:
        path, head = scope["path"], head_of(scope["headers"])
        face = _FACES.get(path[1:].partition("/")[0], "other")
        if path.endswith("/predict") and face == "torchserve":
            face = "marsmith"
        trace = trace_of(head.get(_PARENT, b"").decode("latin-1"))
        facts = Facts(scope["method"], path, face, head, trace)
        self._metrics.begun()
        if self._spans is not None:
            self._spans.begin(facts)
        # The worker hears of the gateway's span. Other tracers' state goes along with its trace.
        dropped = (_PARENT,) if trace.parent else (_PARENT, _STATE)
        headers = [one for one in scope["headers"] if one[0] not in dropped]
        scope["headers"] = [*headers, (_PARENT, facts.trace.header.encode())]
        scope.setdefault("state", {}).update(facts=facts, request_id=facts.id)
        return facts

    def _ended(self, facts: Facts, seconds: float) -> None:
        status = facts.status
        self._metrics.ended(facts.model, facts.version, facts.face, status, seconds)
        if self._log is not None:
            self._log.note(facts, seconds)
        if self._spans is not None:
            self._spans.end(facts)
