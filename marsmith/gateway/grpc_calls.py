"""What the gRPC services of a gateway share: handlers, and codes for statuses of HTTP.

Imports grpc, which is an extra: the web process imports this only where it is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import grpc
from google.protobuf import message_factory

from marsmith.client.grpc_refusals import STATUSES
from marsmith.core.errors import MarsmithError
from marsmith.gateway.refusals import as_refusal, sentence

_STATUSES = STATUSES | {"OK": 200, "CANCELLED": 499, "DEADLINE_EXCEEDED": 504}
_CODES = {status: grpc.StatusCode[name] for name, status in _STATUSES.items()}
_CODES[413] = grpc.StatusCode.RESOURCE_EXHAUSTED


def code_of(
    status: int, other: grpc.StatusCode = grpc.StatusCode.INVALID_ARGUMENT
) -> grpc.StatusCode:
    """Return the code for a status; `other` is that of a request's fault without a code."""
    return _CODES.get(status, other if 400 <= status < 500 else grpc.StatusCode.INTERNAL)


def status_of_code(code: Any) -> int:
    """Return the status for a code; 500 for one that has none."""
    return _STATUSES.get(code.name, 500) if isinstance(code, grpc.StatusCode) else 500


async def abort(context: Any, error: MarsmithError) -> None:
    """End a call with an error."""
    refusal = as_refusal(error)
    await context.abort(code_of(refusal.status), sentence(refusal))


def add_service(server: Any, described: Any, methods: Mapping[str, Callable[..., Any]]) -> None:
    """Add a service to a server of grpc.aio; `methods` take a message and gRPC's context."""
    handlers = {}
    for one in described.methods:
        asked, answered = map(message_factory.GetMessageClass, (one.input_type, one.output_type))
        formats = asked.FromString, answered.SerializeToString
        streams = one.client_streaming, one.server_streaming
        handlers[one.name] = method_handler(*streams, methods[one.name], *formats)
    service = grpc.method_handlers_generic_handler(described.full_name, handlers)
    server.add_generic_rpc_handlers([service])


def method_handler(asks_stream: bool, answers_stream: bool, *given: Any) -> Any:
    """Return grpc's handler for a method, its reader and its writer."""
    kinds = ("stream" if one else "unary" for one in (asks_stream, answers_stream))
    return getattr(grpc, "_".join([*kinds, "rpc_method_handler"]))(*given)
