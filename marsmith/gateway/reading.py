"""An HTTP request as a call for a model."""

from __future__ import annotations

import re
import uuid
from functools import lru_cache

from starlette.requests import Request as HttpRequest

from marsmith.answers.messages import Request
from marsmith.gateway.backend import Call

# What `curl --data-binary` says of any body; only text of this form is one.
_URL_ENCODED = "application/x-www-form-urlencoded"
_PAIR = rb"[\w.%+*~\[\]-]+=[^&=\s{}\"<>]*"
_FORM = re.compile(rb"%b(&%b)*&?" % (_PAIR, _PAIR))
# Secrets of callers.
_NOT_FOR_HANDLERS = {"authorization", "cookie", "proxy-authorization", "x-api-key"}


async def read_call(
    http: HttpRequest,
    model: str,
    version: str | None = None,
    *,
    explain: bool = False,
    path: str = "",
) -> Call:
    """Read a request whole. Header names are written as most clients send them: Content-Type."""
    body = await http.body()
    headers: dict[str, str] = {}
    content_type = ""
    for raw, value in http.scope["headers"]:
        name = written_name(raw)
        if name == "Content-Type":
            content_type = value.decode("latin-1")
        elif name:
            headers[name] = value.decode("latin-1")
    if content_type.lower().startswith(_URL_ENCODED) and not _is_form(body):
        content_type = ""
    request = Request(body, content_type, headers)
    return Call(model, request, request_id(http), version, explain, path)


def request_id(http: HttpRequest) -> str:
    """Return the id of a request: the gateway's own, since two callers may send the same one."""
    state = http.scope.setdefault("state", {})
    if "request_id" not in state:
        state["request_id"] = str(uuid.uuid4())
    return str(state["request_id"])


def _is_form(body: bytes) -> bool:
    return body.isascii() and _FORM.fullmatch(body) is not None


@lru_cache(1024)
def written_name(name: bytes) -> str:
    """Return a header's name as handlers know it; empty for one that is not for them."""
    text = name.decode("latin-1").lower()
    return "" if text in _NOT_FOR_HANDLERS else text.title()
