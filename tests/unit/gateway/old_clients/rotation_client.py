"""A client of the rotation system's gRPC services, as rotation.proto describes them."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf import message_factory

from marsmith.client.protos import rotation_pb2


class RotationClient:
    """Calls methods at one address, with an access token if there is one."""

    def __init__(self, address: str, token: str = "") -> None:
        self._channel = grpc.insecure_channel(address)
        self._metadata = (("access_token", token),) if token else ()

    def call(self, service: str, method: str, **fields: Any) -> list[Any]:
        """Return the messages of an answer. Raises grpc.RpcError."""
        described = rotation_pb2.DESCRIPTOR.services_by_name[service].methods_by_name[method]
        sent, got = (
            message_factory.GetMessageClass(one)
            for one in (described.input_type, described.output_type)
        )
        kind = "unary_stream" if described.server_streaming else "unary_unary"
        stub = getattr(self._channel, kind)(
            f"/{service}/{method}", sent.SerializeToString, got.FromString
        )
        answer = stub(sent(**fields), metadata=self._metadata, timeout=60)
        return list(answer) if described.server_streaming else [answer]

    def code(self, service: str, method: str, **fields: Any) -> Any:
        """Return the status code of a call."""
        try:
            self.call(service, method, **fields)
        except grpc.RpcError as error:
            return error.code()
        return grpc.StatusCode.OK
