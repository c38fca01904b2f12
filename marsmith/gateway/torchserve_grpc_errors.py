"""TorchServe's refusals over gRPC (GRPCUtils, InferenceImpl, ManagementImpl.java)."""

from __future__ import annotations

import grpc

from marsmith.gateway.torchserve_errors import Refused

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.ABORTED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    416: grpc.StatusCode.OUT_OF_RANGE,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    499: grpc.StatusCode.CANCELLED,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_PACKAGES = {
    "ModelException": "org.pytorch.serve.archive.model",
    "ModelNotFoundException": "org.pytorch.serve.archive.model",
    "ModelVersionNotFoundException": "org.pytorch.serve.archive.model",
}


def code_of(error: Refused) -> grpc.StatusCode:
    """Return gRPC's name of a status, as GRPCUtils.getGRPCStatusCode does."""
    others = grpc.StatusCode.FAILED_PRECONDITION if error.status < 500 else grpc.StatusCode.INTERNAL
    return _CODES.get(error.status, others)


def details_of(error: Refused) -> str:
    """Return the text and the full name of the exception."""
    package = _PACKAGES.get(error.kind, "org.pytorch.serve.http")
    return f"{error.message}\n{package}.{error.kind}"
