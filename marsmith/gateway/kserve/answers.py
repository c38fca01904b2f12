"""What KServe's protocols share over HTTP: JSON in, JSON out, and errors as {"error": "…"}."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from pydantic_core import from_json
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Mount, Route

from marsmith.core.errors import MarsmithError
from marsmith.gateway.backend import Backend
from marsmith.gateway.reading import request_id
from marsmith.gateway.refusals import GatewayError, as_refusal, malformed, sentence

JSON = "application/json"
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
Endpoint = Callable[[HttpRequest], Awaitable[Response]]


def route(path: str, endpoint: Endpoint, method: str = "GET") -> Route:
    """Return a route whose errors, also that of another method, have KServe's form."""

    async def answered(http: HttpRequest) -> Response:
        try:
            if http.method not in (method, "HEAD" if method == "GET" else method):
                raise _nothing(http, 405)
            response = await endpoint(http)
        except MarsmithError as error:
            response = refusal(error)
        response.headers["x-request-id"] = request_id(http)
        return response

    return Route(path, answered, methods=_METHODS)


def mount(path: str, routes: Sequence[Route]) -> Mount:
    """Return routes below a path, and one that refuses what else is asked for there."""
    nothing = Route("/{rest:path}", _refuse, methods=_METHODS)
    return Mount(path, routes=[*routes, nothing])


async def _refuse(http: HttpRequest) -> Response:
    response = refusal(_nothing(http, 404))
    response.headers["x-request-id"] = request_id(http)
    return response


def _nothing(http: HttpRequest, status: int) -> GatewayError:
    return GatewayError(
        f"nothing answers {http.method} {http.url.path}",
        "see GET /v2 or GET /v1/models, and the documentation for the paths",
        code="no-such-path",
        status=status,
    )


def refusal(error: MarsmithError) -> Response:
    """Return an error as an answer."""
    given = as_refusal(error)
    response = said({"error": sentence(given), "code": given.code}, given.status)
    if given.retry_after is not None:
        response.headers["retry-after"] = str(given.retry_after)
    return response


def said(values: Any, status: int = 200) -> Response:
    """Return values as JSON."""
    return Response(json.dumps(values).encode(), status, media_type=JSON)


def parsed(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body is. Raises GatewayError."""
    try:
        values = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise malformed(f"the body is not JSON: {error}", "send a JSON object") from None
    if not isinstance(values, dict):
        raise malformed("the body is JSON, but not an object", "send a JSON object")
    return values


def b64decode(text: str | bytes) -> bytes:
    """Return the bytes that base64 stands for, in one line or several. Raises ValueError."""
    data = text.encode() if isinstance(text, str) else text
    return base64.b64decode(b"".join(data.split()), validate=True)


def named(http: HttpRequest) -> tuple[str, str | None]:
    """Return the model and the version that a path names."""
    return http.path_params["model"], http.path_params.get("version")


async def ready(backend: Backend, http: HttpRequest) -> Response:
    """Say whether a version of a model has a worker that answers."""
    model, version = named(http)
    up = (await backend.describe(model, version)).ready_workers > 0
    return said({"name": model, "ready": up}, 200 if up else 503)
