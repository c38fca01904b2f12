"""What TorchServe's HTTP faces share: paths and queries as its Java reads them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from marsmith.gateway.reading import request_id
from marsmith.gateway.torchserve_errors import Refused, error_response

Answering = Callable[[Request], Awaitable[Response]]
_NUMBER = re.compile(r"[+-]?[0-9]{1,10}", re.ASCII)
_LARGEST = (1 << 31) - 1


class TorchServeEndpoint:
    """An ASGI application for all methods; what it refuses is answered in TorchServe's form."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        http = Request(scope, receive)
        try:
            response = await self._answering(http)
        except Refused as error:
            response = error_response(error, request_id(http))
        await response(scope, receive, send)


def segments_of(http: Request) -> list[str]:
    """Return what stands between a path's slashes, as String.split does: without empty ends."""
    parts: list[str] = http.scope["path"].split("/")
    while parts and not parts[-1]:
        parts.pop()
    return parts[1:]


class Parameters:
    """Parameters by name, of a URL's query or of a JSON body."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    @classmethod
    def of_query(cls, http: Request) -> Parameters:
        """Read a URL's query: the first of each name counts."""
        text = http.scope["query_string"].decode("latin-1")
        pairs = parse_qsl(text, keep_blank_values=True) if text else []
        return cls(dict(reversed(pairs)))

    def text(self, name: str) -> str | None:
        """Return a parameter as text, None if it is missing."""
        value = self._values.get(name)
        return None if value is None else str(value)

    def number(self, name: str) -> int | None:
        """Return a number; one that is none counts as missing, as in NettyUtils.getIntParameter."""
        text = self.text(name) or ""
        if not _NUMBER.fullmatch(text) or abs(int(text)) > _LARGEST:
            return None
        return int(text)

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a truth value, as Boolean.parseBoolean reads it."""
        text = self.text(name)
        return default if text is None else text.lower() == "true"
