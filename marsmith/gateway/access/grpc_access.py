"""What gRPC calls pass: keys in their metadata, limits, counts, the log and traces.

Imports grpc, which is an extra: the web process imports this only where it is installed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

import grpc

from marsmith.gateway.access.guards import Guards
from marsmith.gateway.refusals import GatewayError

# Statuses of HTTP by their names in gRPC; the others are INTERNAL.
_STATUSES = {
    "OK": 200,
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "UNAVAILABLE": 503,
}
_CODES = {status: grpc.StatusCode[name] for name, status in _STATUSES.items()}
_CODES[413] = grpc.StatusCode.RESOURCE_EXHAUSTED


class GrpcAccess(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Stands before all services."""

    def __init__(self, guards: Guards) -> None:
        """Share the gate and the observer with what comes over HTTP."""
        self._gate = guards.gate
        self._observer = guards.observer

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], details: Any
    ) -> Any:
        """Return the handler of a call, behind the gate."""
        handler = await continuation(details)
        if handler is None:
            return None
        kind = "stream" if handler.request_streaming else "unary"
        kind += "_stream" if handler.response_streaming else "_unary"
        method = getattr(handler, kind)

        async def one(request: Any, context: Any) -> Any:
            with self._passing(details, context, request) as refused:
                if refused is None:
                    return await method(request, context)
            return await _abort(context, refused)

        async def many(request: Any, context: Any) -> AsyncIterator[Any]:
            with self._passing(details, context, request) as refused:
                if refused is None:
                    async for part in method(request, context):
                        yield part
                    return
            await _abort(context, refused)

        make = getattr(grpc, f"{kind}_rpc_method_handler")
        guarded = many if handler.response_streaming else one
        return make(guarded, handler.request_deserializer, handler.response_serializer)

    @contextmanager
    def _passing(self, details: Any, context: Any, request: Any) -> Iterator[GatewayError | None]:
        """Let a call in, or yield why not."""
        sent = details.invocation_metadata or ()
        head = [(str(name).encode(), _bytes(value)) for name, value in sent]
        face = "oip" if details.method.startswith("/inference.") else "torchserve"
        facts = self._observer.begin("GRPC", details.method, face, head)
        allowance, refused = None, None
        try:
            try:
                self._gate.pass_proxy(facts, _host(context.peer()), "http")
                allowance = self._gate.let_in(facts)
                self._gate.count(facts, request.ByteSize() if hasattr(request, "ByteSize") else 0)
            except GatewayError as error:
                refused = error
            yield refused
            facts.status = refused.status if refused else 200
        finally:
            if allowance is not None:
                allowance.end(facts.body_bytes)
            facts.status = facts.status or _status(context)
            self._observer.end(facts)


def _status(context: Any) -> int:
    """Return the status of a call that was not answered."""
    if context.cancelled():
        return _STATUSES["CANCELLED"]
    code = context.code()
    return _STATUSES.get(code.name, 500) if isinstance(code, grpc.StatusCode) else 500


async def _abort(context: Any, refused: GatewayError) -> None:
    code = _CODES.get(refused.status, grpc.StatusCode.INTERNAL)
    await context.abort(code, f"{refused.message}; {refused.hint}")


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1", "replace")


def _host(peer: str) -> str:
    """Return the address in `ipv4:127.0.0.1:5000` or `ipv6:%5B::1%5D:5000`."""
    return unquote(peer.partition(":")[2].rpartition(":")[0]).strip("[]")
