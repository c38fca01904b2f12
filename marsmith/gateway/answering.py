"""A handler's answer as an HTTP response."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from marsmith.answers.messages import HEADER_NAME, HEADER_VALUE
from marsmith.core.errors import MarsmithError
from marsmith.gateway.backend import Answer

_NAME, _VALUE = re.compile(HEADER_NAME), re.compile(HEADER_VALUE)
# These describe the connection, or the body's length, and so are the gateway's.
_NOT_OF_HANDLERS = {"content-length", "transfer-encoding", "connection", "x-request-id"}


def header_pairs(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a handler that HTTP can carry, by their names in lower case."""
    return {
        name.lower(): value
        for name, value in headers.items()
        if name.lower() not in _NOT_OF_HANDLERS
        and _NAME.fullmatch(name)
        and _VALUE.fullmatch(value)
    }


def answer_response(answer: Answer, headers: Mapping[str, str]) -> Response:
    """Return an answer, whole or as it comes, with `headers` of a face beside its own."""
    sent = {**header_pairs(answer.response.headers), **headers}
    if answer.rest is None:
        return Response(answer.response.body, answer.response.status, sent)
    return _InParts(answer, sent)


class _InParts(Response):
    """Sends parts as they come."""

    def __init__(self, answer: Answer, headers: Mapping[str, str]) -> None:
        super().__init__(None, answer.response.status, headers)
        del self.headers["content-length"]
        self._answer = answer

    async def __call__(self, _: Scope, __: Receive, send: Send) -> None:
        """Send them. One that fails ends the connection, so that no caller takes it for the end."""
        start = {"type": "http.response.start", "status": self.status_code}
        await send({**start, "headers": self.raw_headers})
        await send(_part(self._answer.response.body))
        if self._answer.rest is not None:
            with suppress(MarsmithError):
                async for part in self._answer.rest:
                    await send(_part(part))
                await send(_part(b"", more=False))


def _part(body: bytes, *, more: bool = True) -> dict[str, object]:
    return {"type": "http.response.body", "body": body, "more_body": more}
