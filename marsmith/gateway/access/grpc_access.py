"""What gRPC calls pass: keys in their metadata, limits, counts, the log and traces.

Imports grpc, which is an extra: the web process imports this only where it is installed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import unquote

import grpc
from google.protobuf.message import DecodeError

from marsmith.gateway.access.guards import Guards
from marsmith.gateway.grpc_calls import abort, method_handler, status_of_code
from marsmith.gateway.old_clients.rotation_keys import key_in_call, told
from marsmith.gateway.refusals import GatewayError, malformed


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
        streams = handler.request_streaming, handler.response_streaming
        method = next(filter(None, handler[4:]))  # of grpc.RpcMethodHandler: one for each kind

        async def one(request: Any, context: Any) -> Any:
            with self._passing(details, context, request) as refused:
                if refused is None:
                    return await method(request, context)
            return await abort(context, refused)

        async def many(request: Any, context: Any) -> AsyncIterator[Any]:
            with self._passing(details, context, request) as refused:
                if refused is None:
                    async for part in method(request, context):
                        yield part
                    return
            await abort(context, refused)

        guarded = many if handler.response_streaming else one
        read = handler.request_deserializer
        reader = read if handler.request_streaming else partial(_read, read)
        return method_handler(*streams, guarded, reader, handler.response_serializer)

    @contextmanager
    def _passing(self, details: Any, context: Any, request: Any) -> Iterator[GatewayError | None]:
        """Let a call in, or yield why not."""
        sent = details.invocation_metadata or ()
        head = [(str(name).encode(), _bytes(value)) for name, value in sent]
        if token := key_in_call(details.method, sent, request):
            head.append((b"x-api-key", _bytes(token)))
        face = "oip" if details.method.startswith("/inference.") else "torchserve"
        facts = self._observer.begin("GRPC", details.method, face, head)
        allowance, refused = None, None
        try:
            try:
                self._gate.pass_proxy(facts, _host(context.peer()), "http")
                allowance = self._gate.let_in(facts)
                if isinstance(request, DecodeError):
                    raise malformed("the message cannot be read", "send one of the service's own")
                self._gate.count(facts, request.ByteSize() if hasattr(request, "ByteSize") else 0)
            except GatewayError as error:
                refused = told(details.method, error)
            yield refused
            facts.status = refused.status if refused else 200
        finally:
            if allowance is not None:
                allowance.end(facts.body_bytes)
            facts.status = facts.status or _status(context)
            self._observer.end(facts)


def _read(reader: Callable[[bytes], Any], message: bytes) -> Any:
    """Return a message, or what is wrong with it: grpc would answer UNKNOWN."""
    try:
        return reader(message)
    except DecodeError as error:
        return error


def _status(context: Any) -> int:
    """Return the status of a call that was not answered."""
    return status_of_code(grpc.StatusCode.CANCELLED if context.cancelled() else context.code())


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1", "replace")


def _host(peer: str) -> str:
    """Return the address in `ipv4:127.0.0.1:5000` or `ipv6:%5B::1%5D:5000`."""
    return unquote(peer.partition(":")[2].rpartition(":")[0]).strip("[]")
