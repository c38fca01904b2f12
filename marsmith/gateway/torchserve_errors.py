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


class Refused(Exception):  # noqa: N818 (an answer)
    """What TorchServe answers where there is no result: the class of its exception, and a text."""

    def __init__(
        self, status: int, message: str, kind: str = "", retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind or _CLASSES.get(status, "InternalServerException")
        self.retry_after = retry_after


def nothing_here() -> Refused:
    """No such path."""
    return Refused(404, "Requested resource is not found, please refer to API document.")


def wrong_method() -> Refused:
    """A path that does not take this method."""
    return Refused(405, "Requested method is not allowed, please refer to API document.")


def refused(
    error: MarsmithError, model: str = "", version: str | None = None, task: str = "inference"
) -> Refused:
    """Return an error in TorchServe's words, as far as it has some for it."""
    if error.code == "model-unknown":
        return Refused(404, f"Model not found: {model}", "ModelNotFoundException")
    if error.code == "version-unknown":
        words = f"Model version: {version} does not exist for model: {model}"
        return Refused(404, words, "ModelVersionNotFoundException")
    if error.code == "not-in-store":
        return Refused(404, f"{error.message}; {error.hint}", "ModelNotFoundException")
    if error.code == "default-version":
        words = f"Cannot remove default version for model {model}"
        return Refused(403, words, "InvalidModelVersionException")
    words = f"{error.message}; {error.hint}"
    if error.code in _NO_WORKER:
        words = f"{_no_worker(model, version, task)}; {words}"
    if not isinstance(error, GatewayError):
        return Refused(400 if isinstance(error, ClientError) else 500, words)
    return Refused(error.status, words, retry_after=error.retry_after)


def _no_worker(model: str, version: str | None, task: str) -> str:
    named = f'Model "{model}"' if version is None else f'Model "{model}" Version {version}"'
    return (
        f"{named} has no worker to serve {task} request. "
        "Please use scale workers API to add workers"
    )


def json_text(values: Any) -> str:
    """Return JSON as TorchServe's Gson prints it."""
    return json.dumps(values, indent=2, ensure_ascii=False)


def json_response(values: Any, request_id: str, status: int = 200) -> Response:
    """Return JSON as TorchServe sends it."""
    headers = {"x-request-id": request_id, **NEVER_CACHED}
    body = (json_text(values) + "\n").encode(errors="replace")
    return Response(body, status, headers, JSON)


def error_response(error: Refused, request_id: str) -> Response:
    """Return an error as TorchServe sends it."""
    values = {"code": error.status, "type": error.kind, "message": error.message}
    response = json_response(values, request_id, error.status)
    if error.retry_after is not None:
        response.headers["retry-after"] = str(error.retry_after)
    return response


def refusal(error: MarsmithError) -> Response:
    """Return an error before any model is asked for, as TorchServe would send it."""
    return error_response(refused(error), "")
