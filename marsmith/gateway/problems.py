"""Refusals as problem details for HTTP APIs (RFC 9457); no IO."""

from __future__ import annotations

import json
from http import HTTPStatus

from starlette.responses import Response

from marsmith.core.errors import MarsmithError
from marsmith.gateway.refusals import as_refusal

PROBLEM = "application/problem+json"
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


def problem(error: MarsmithError, request_id: str) -> Response:
    """Return an error as an HTTP response."""
    refusal = as_refusal(error)
    values = {
        "type": "about:blank",
        "title": _PHRASES.get(refusal.status, ""),
        "status": refusal.status,
        "detail": error.message,
        "code": error.code,
        "hint": error.hint,
        "request_id": request_id,
    }
    headers = {"x-request-id": request_id}
    if refusal.retry_after is not None:
        headers["retry-after"] = str(refusal.retry_after)
    return Response(json.dumps(values).encode(), refusal.status, headers, PROBLEM)
