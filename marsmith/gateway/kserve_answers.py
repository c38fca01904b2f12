"""What KServe's two protocols over HTTP share: JSON in, JSON out, errors as {"error": "…"}."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic_core import from_json
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from marsmith.answers import messages
from marsmith.core.errors import MarsmithError
from marsmith.gateway.backend import Backend
from marsmith.gateway.reading import request_id
from marsmith.gateway.refusals import GatewayError, malformed

JSON = "application/json"
Endpoint = Callable[[HttpRequest], Awaitable[Response]]


def answering(endpoint: Endpoint) -> Endpoint:
    """Return an endpoint whose errors are answers of KServe's form."""

    async def answered(http: HttpRequest) -> Response:
        try:
            _refuse_compressed(http)
            response = await endpoint(http)
        except MarsmithError as error:
            response = refusal(error)
        response.headers["x-request-id"] = request_id(http)
        return response

    return answered


def _refuse_compressed(http: HttpRequest) -> None:
    coding = http.headers.get("content-encoding", "identity")
    if coding.lower() != "identity":
        raise GatewayError(
            f"the body is compressed: {coding:.40}",
            "send it without Content-Encoding",
            code="compressed-body",
            status=415,
        )


def refusal(error: MarsmithError) -> Response:
    """Return an error as an answer."""
    own = error if isinstance(error, GatewayError) else None
    status = own.status if own else 500
    response = said({"error": sentence(error), "code": error.code}, status)
    if own and own.retry_after is not None:
        response.headers["retry-after"] = str(own.retry_after)
    return response


def sentence(error: MarsmithError) -> str:
    """Return an error's message and hint in one line."""
    return f"{error.message}; {error.hint}" if error.hint else error.message


def said(values: Any, status: int = 200) -> Response:
    """Return values as JSON."""
    return Response(json.dumps(values, allow_nan=False).encode(), status, media_type=JSON)


def parsed(body: bytes | memoryview) -> dict[str, Any]:
    """Return the JSON object that a body is. Raises GatewayError."""
    try:
        values = from_json(bytes(body), allow_inf_nan=False)
    except ValueError as error:
        raise malformed(f"the body is not JSON: {error}", "send a JSON object") from None
    if not isinstance(values, dict):
        raise malformed("the body is JSON, but not an object", "send a JSON object")
    return values


def json_of(response: messages.Response) -> Any:
    """Return the JSON values of a handler's answer. Raises ValueError if it is something else.

    NaN and infinite numbers are no JSON.
    """
    if response.content_type not in ("", JSON):
        raise ValueError("the handler says that it is no JSON")
    return from_json(response.body, allow_inf_nan=False)


async def is_ready(backend: Backend, model: str, version: str | None) -> bool:
    """Tell whether a version has a worker that answers. Raises GatewayError if there is none."""
    return (await backend.describe(model, version)).ready_workers > 0
