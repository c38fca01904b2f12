"""A handler's answer as an HTTP response."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from marsmith.answers.messages import HEADER_NAME, HEADER_VALUE
from marsmith.core.errors import MarsmithError
from marsmith.gateway.backend import Answer

_NAME, _VALUE = re.compile(HEADER_NAME), re.compile(HEADER_VALUE)
# These describe the connection, or the body's length, and so are the gateway's.
_NOT_OF_HANDLERS = {"content-length", "transfer-encoding", "connection", "x-request-id"}
_BODILESS = {204, 304}


def header_pairs(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a handler that HTTP can carry, by their names in lower case."""
    return {name.lower(): value for name, value in headers.items() if _is_sent(name, value)}


@lru_cache(1024)
def _is_sent(name: str, value: str) -> bool:
    own = name.lower() in _NOT_OF_HANDLERS
    return not own and bool(_NAME.fullmatch(name) and _VALUE.fullmatch(value))


def answer_response(answer: Answer, headers: Mapping[str, str]) -> Response:
    """Return an answer, whole or as it comes, with `headers` of a face beside its own."""
    return _AnswerResponse(answer, {**header_pairs(answer.response.headers), **headers})


class _AnswerResponse(Response):
    def __init__(self, answer: Answer, headers: Mapping[str, str]) -> None:
        """Take headers by their names in lower case."""
        self.status_code, self._first = answer.response.status, answer.response.body
        self.background = None
        self.raw_headers = [(name.encode(), value.encode()) for name, value in headers.items()]
        self._rest = answer.rest
        if answer.rest is None and self.status_code not in _BODILESS:
            self.raw_headers.append((b"content-length", b"%d" % len(self._first)))

    async def __call__(self, _: Scope, __: Receive, send: Send) -> None:
        """Send it. Parts that fail end the connection, so that no caller takes that for the end."""
        start = {"type": "http.response.start", "status": self.status_code}
        await send({**start, "headers": self.raw_headers})
        if self._rest is None:
            await send(_part(self._first, more=False))
            return
        await send(_part(self._first))
        with suppress(MarsmithError):
            async for part in self._rest:
                await send(_part(part))
            await send(_part(b"", more=False))


def _part(body: bytes, *, more: bool = True) -> dict[str, object]:
    return {"type": "http.response.body", "body": body, "more_body": more}
