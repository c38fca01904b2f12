"""TorchServe's form of JSON and of errors (NettyUtils, ErrorResponse, HttpRequestHandler.java)."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

from marsmith.core.errors import ClientError, MarsmithError
from marsmith.gateway.refusals import GatewayError

JSON = "application/json"
# What it sends with every answer, so that no cache keeps one.
NEVER_CACHED = {
    "pragma": "no-cache",
    "cache-control": "no-cache; no-store, must-revalidate, private",
    "expires": "Thu, 01 Jan 1970 00:00:00 UTC",
}
_CLASSES = {
    400: "BadRequestException",
    404: "ResourceNotFoundException",
    405: "MethodNotAllowedException",
    408: "RequestTimeoutException",
    409: "ConflictStatusException",
    503: "ServiceUnavailableException",
}
# TorchServe has one answer for these two; its words are what scripts look for.
_NO_WORKER = {"queue-full", "no-worker-up"}


class TorchServeError(GatewayError):
    """A refusal that TorchServe has its own class of exception and its own words for."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message, "see TorchServe's API", code="torchserve-refused", status=status)
        self.kind = kind


def nothing_here() -> TorchServeError:
    """No such path."""
    words = "Requested resource is not found, please refer to API document."
    return TorchServeError(404, _CLASSES[404], words)


def wrong_method() -> TorchServeError:
    """A path that does not take this method."""
    words = "Requested method is not allowed, please refer to API document."
    return TorchServeError(405, _CLASSES[405], words)


def bad_request(message: str) -> TorchServeError:
    """A parameter that is missing or wrong."""
    return TorchServeError(400, _CLASSES[400], message)


def as_torchserve(
    error: MarsmithError, model: str = "", version: str | None = None, task: str = "inference"
) -> TorchServeError:
    """Return an error in TorchServe's words, as far as it has some for it."""
    if isinstance(error, TorchServeError):
        return error
    usual = 400 if isinstance(error, ClientError) else 500
    status = error.status if isinstance(error, GatewayError) else usual
    if error.code == "model-unknown":
        return TorchServeError(404, "ModelNotFoundException", f"Model not found: {model}")
    if error.code == "version-unknown":
        words = f"Model version: {version} does not exist for model: {model}"
        return TorchServeError(404, "ModelVersionNotFoundException", words)
    if error.code == "archive-not-in-store":
        return TorchServeError(404, "ModelNotFoundException", error.message)
    if error.code == "default-version":
        words = f"Cannot remove default version for model {model}"
        return TorchServeError(403, "InvalidModelVersionException", words)
    words = f"{error.message}; {error.hint}"
    if error.code in _NO_WORKER:
        words = f"{_no_worker(model, version, task)}. {words}"
    return TorchServeError(status, _CLASSES.get(status, "InternalServerException"), words)


def _no_worker(model: str, version: str | None, task: str) -> str:
    named = f'Model "{model}"' if version is None else f'Model "{model}" Version {version}"'
    return (
        f"{named} has no worker to serve {task} request. "
        "Please use scale workers API to add workers"
    )


def json_text(values: Any) -> str:
    """Return JSON as TorchServe's Gson prints it."""
    return json.dumps(values, indent=2, ensure_ascii=False)


def said(values: Any, request_id: str, status: int = 200) -> Response:
    """Return JSON as TorchServe sends it."""
    headers = {"x-request-id": request_id, **NEVER_CACHED}
    text = json_text(values) + "\n"
    return Response(text.encode(errors="replace"), status, headers, JSON)


def refused(error: TorchServeError, request_id: str, retry_after: int | None = None) -> Response:
    """Return an error as TorchServe sends it."""
    values = {"code": error.status, "type": error.kind, "message": error.message}
    response = said(values, request_id, error.status)
    if retry_after is not None:
        response.headers["retry-after"] = str(retry_after)
    return response
