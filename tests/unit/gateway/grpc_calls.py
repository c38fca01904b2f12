"""Calls of a gRPC service by the names of its methods, over a real channel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf import message_factory


def calling(
    channel: Any, service: Any, method: str, metadata: Iterable[tuple[str, str]] = (), **fields: Any
) -> Any:
    """Send one message over a channel of grpc or grpc.aio; return the call."""
    described = service.methods_by_name[method]
    types = (described.input_type, described.output_type)
    asked, answered = map(message_factory.GetMessageClass, types)
    make = channel.unary_stream if described.server_streaming else channel.unary_unary
    stub = make(f"/{service.full_name}/{method}", asked.SerializeToString, answered.FromString)
    return stub(asked(**fields), metadata=tuple(metadata), timeout=10)
