"""The Open Inference Protocol over gRPC. Imports grpc, which is an extra."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any

import grpc
from google.protobuf import message_factory

from marsmith.answers.messages import Request
from marsmith.client.protos import open_inference_pb2
from marsmith.core.errors import MarsmithError
from marsmith.gateway.backend import Backend, Call
from marsmith.gateway.kserve_answers import is_ready, sentence
from marsmith.gateway.oip_grpc_tensors import read_request, written
from marsmith.gateway.oip_models import (
    index,
    infer,
    is_server_ready,
    model_metadata,
    server_metadata,
)
from marsmith.gateway.reading import written_name
from marsmith.gateway.refusals import GatewayError

_SERVICE: Any = open_inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
# Statuses of HTTP by their names in gRPC; a status that is not here is INTERNAL.
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    406: grpc.StatusCode.INVALID_ARGUMENT,
    409: grpc.StatusCode.ABORTED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
Method = Callable[[Any, Any], Awaitable[Any]]


def add_services(server: Any, backend: Backend) -> None:
    """Add the protocol's service to a server of grpc.aio."""
    service = _Service(backend)
    handlers = {
        method.name: grpc.unary_unary_rpc_method_handler(
            _answering(getattr(service, method.name), _class(method.output_type)),
            request_deserializer=_class(method.input_type).FromString,
            response_serializer=_class(method.output_type).SerializeToString,
        )
        for method in _SERVICE.methods
    }
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(_SERVICE.full_name, handlers)]
    )


class _Service:
    """A method for each of the service's, from a message to the fields of its answer."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def ServerLive(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        return {"live": True}

    async def ServerReady(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        return {"ready": await is_server_ready(self._backend)}

    async def ModelReady(self, request: Any, _context: Any) -> Any:  # noqa: N802
        return {"ready": await is_ready(self._backend, request.name, request.version or None)}

    async def ServerMetadata(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        return server_metadata()

    async def ModelMetadata(self, request: Any, _context: Any) -> Any:  # noqa: N802
        metadata = await model_metadata(self._backend, request.name, request.version or None)
        return asdict(metadata)

    async def RepositoryIndex(self, request: Any, _context: Any) -> Any:  # noqa: N802
        models = await index(self._backend)
        return {"models": [one for one in models if one["state"] == "READY" or not request.ready]}

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        headers = _headers(dict(context.invocation_metadata() or ()))
        call = Call(
            request.model_name,
            Request(b"", "", headers),
            str(uuid.uuid4()),
            request.model_version or None,
        )
        answer = await infer(self._backend, call, read_request(request))
        return written(answer, raw=bool(request.raw_input_contents))


def _answering(method: Method, answer: Any) -> Method:
    """Return a method of grpc's form, whose errors are statuses."""

    async def answered(request: Any, context: Any) -> Any:
        try:
            return answer(**await method(request, context))
        except MarsmithError as error:
            own = error.status if isinstance(error, GatewayError) else 500
            code = _CODES.get(own, grpc.StatusCode.INTERNAL)
            await context.abort(code, sentence(error))

    return answered


def _headers(metadata: Mapping[str, str | bytes]) -> dict[str, str]:
    return {
        name: value
        for key, value in metadata.items()
        if isinstance(value, str) and (name := written_name(key.encode()))
    }


def _class(descriptor: Any) -> Any:
    return message_factory.GetMessageClass(descriptor)
