"""HTTP as TorchServe's Java reads and writes it."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from marsmith.core.errors import MarsmithError
from marsmith.gateway.reading import request_id
from marsmith.gateway.torchserve_api.errors import Refused, refused

# What it sends with every answer, so that no cache keeps one.
NEVER_CACHED = {
    "pragma": "no-cache",
    "cache-control": "no-cache; no-store, must-revalidate, private",
    "expires": "Thu, 01 Jan 1970 00:00:00 UTC",
}
_NUMBER = re.compile(r"[+-]?[0-9]{1,10}", re.ASCII)
_LARGEST = (1 << 31) - 1


class TorchServeEndpoint:
    """An ASGI application for all methods; what it refuses is answered in TorchServe's form."""

    def __init__(self, answering: Callable[[Request], Awaitable[Response]]) -> None:
        self._answering = answering

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        http = Request(scope, receive)
        try:
            response = await self._answering(http)
        except Refused as error:
            response = _error_response(error, request_id(http))
        await response(scope, receive, send)


def json_text(values: Any) -> str:
    """Return JSON as TorchServe's Gson prints it."""
    return json.dumps(values, indent=2, ensure_ascii=False)


def json_response(values: Any, http: Request, status: int = 200) -> Response:
    """Return JSON as TorchServe sends it."""
    return _json(values, request_id(http), status)


def _json(values: Any, request_id: str, status: int) -> Response:
    headers = {"x-request-id": request_id, **NEVER_CACHED}
    body = (json_text(values) + "\n").encode(errors="replace")
    return Response(body, status, headers, "application/json")


def refusal(error: MarsmithError, request_id: str) -> Response:
    """Return an error before any model is asked for, as TorchServe would send it."""
    return _error_response(refused(error), request_id)


def _error_response(error: Refused, request_id: str) -> Response:
    values = {"code": error.status, "type": error.kind, "message": error.message}
    response = _json(values, request_id, error.status)
    if error.retry_after is not None:
        response.headers["retry-after"] = str(error.retry_after)
    return response


def segments_of(http: Request) -> list[str]:
    """Return what stands between a path's slashes, as String.split does: without empty ends."""
    return str(http.scope["path"]).rstrip("/").split("/")[1:]


class Parameters:
    """Parameters by name: of a URL's query, of a JSON body, of a message of gRPC."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    @classmethod
    def of_query(cls, http: Request) -> Parameters:
        """Read a URL's query: the first of each name counts."""
        text = http.scope["query_string"].decode("latin-1")
        return cls(dict(reversed(parse_qsl(text, keep_blank_values=True))))

    def text(self, name: str) -> str | None:
        """Return a parameter as text, None if it is missing."""
        value = self._values.get(name)
        return None if value is None else str(value)

    def number(self, name: str) -> int | None:
        """Return a number; one that is none counts as missing, as in NettyUtils.getIntParameter."""
        text = self.text(name) or ""
        is_number = _NUMBER.fullmatch(text) and abs(int(text)) <= _LARGEST
        return int(text) if is_number else None

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a truth value, as Boolean.parseBoolean reads it."""
        text = self.text(name)
        return default if text is None else text.lower() == "true"
