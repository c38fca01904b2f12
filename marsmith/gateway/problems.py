"""Refusals as problem details for HTTP APIs (RFC 9457); no IO."""

from __future__ import annotations

import json
from http import HTTPStatus

from starlette.responses import Response

from marsmith.core.errors import ClientError, MarsmithError
from marsmith.gateway.refusals import GatewayError

PROBLEM = "application/problem+json"
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


def problem(error: MarsmithError, request_id: str) -> Response:
    """Return an error as an HTTP response; a request's fault has 400, unless it says another."""
    own = 400 if isinstance(error, ClientError) else 500
    number = error.status if isinstance(error, GatewayError) else own
    values = {
        "type": "about:blank",
        "title": _PHRASES.get(number, ""),
        "status": number,
        "detail": error.message,
        "code": error.code,
        "hint": error.hint,
        "request_id": request_id,
    }
    headers = {"x-request-id": request_id}
    if isinstance(error, GatewayError) and error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    return Response(json.dumps(values).encode(), number, headers, PROBLEM)
