"""A handler's answer as an HTTP response."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping

from starlette.responses import Response, StreamingResponse

from marsmith.answers.messages import HEADER_NAME, HEADER_VALUE
from marsmith.gateway.backend import Answer

_NAME, _VALUE = re.compile(HEADER_NAME), re.compile(HEADER_VALUE)
# These describe the connection, or the body's length, and so are the gateway's.
_NOT_OF_HANDLERS = {"content-length", "transfer-encoding", "connection", "x-request-id"}


def header_pairs(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a handler that HTTP can carry, by their names in lower case."""
    return {
        name.lower(): value
        for name, value in headers.items()
        if name.lower() not in _NOT_OF_HANDLERS and _NAME.match(name) and _VALUE.match(value)
    }


def answer_response(answer: Answer, headers: Mapping[str, str]) -> Response:
    """Return an answer, whole or as it comes, with `headers` of a face beside its own."""
    sent = {**header_pairs(answer.response.headers), **headers}
    if answer.rest is None:
        return Response(answer.response.body, answer.response.status, sent)
    return StreamingResponse(_parts(answer), answer.response.status, sent)


async def _parts(answer: Answer) -> AsyncIterator[bytes]:
    yield answer.response.body
    if answer.rest is not None:
        async for part in answer.rest:
            yield part
