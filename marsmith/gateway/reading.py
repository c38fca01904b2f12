"""An HTTP request as a call for a model."""

from __future__ import annotations

import re
import uuid
from functools import lru_cache

from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.types import Receive, Scope

from marsmith.answers.messages import Request
from marsmith.gateway.backend import Call

# What `curl --data-binary` says of any body; only text of this form is one.
_URL_ENCODED = "application/x-www-form-urlencoded"
_PAIR = rb"[\w.%+*~\[\]-]+=[^&=\s{}\"<>]*"
_FORM = re.compile(rb"%b(&%b)*&?" % (_PAIR, _PAIR))
# In a scope: header names in lower case → as the caller wrote them.
SENT_NAMES = "marsmith.sent_names"
# What the front end itself tells a worker by these exact names; a caller's are written otherwise.
_OF_FRONT_END = {"describe", "explain", "url_path"}
# Secrets of callers, and what was for us: TorchServe keeps that back too.
_NOT_FOR_HANDLERS = {"authorization", "cookie", "expect", "proxy-authorization", "x-api-key"}


async def read_call(
    http: HttpRequest,
    model: str,
    version: str | None = None,
    *,
    explain: bool = False,
    path: str = "",
) -> Call:
    """Read a request whole."""
    return call_of(http.scope, await http.body(), model, version, explain=explain, path=path)


async def body_of(receive: Receive) -> bytes:
    """Read a body whole. Raises ClientDisconnect if the caller goes."""
    parts: list[bytes] = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def call_of(
    scope: Scope,
    body: bytes,
    model: str,
    version: str | None = None,
    *,
    explain: bool = False,
    path: str = "",
) -> Call:
    """Return a request that was read as a call."""
    headers = _headers(scope)
    content_type = headers.pop("Content-Type", "")
    told: dict[str, str] = {}
    request = Request(body, content_type, headers)
    if request.sent_type.lower().startswith(_URL_ENCODED) and not _is_form(body):
        request, told = _without_type(request)
    return Call(model, request, id_of_request(scope), version, explain, path, told=told)


def request_id(http: HttpRequest) -> str:
    """Return the id of a request: the gateway's own, since two callers may send the same one."""
    return id_of_request(http.scope)


def id_of_request(scope: Scope) -> str:
    """Return the id of the request that a scope is of."""
    state = scope.setdefault("state", {})
    if "request_id" not in state:
        state["request_id"] = str(uuid.uuid4())
    return str(state["request_id"])


def _headers(scope: Scope) -> dict[str, str]:
    """Return the headers for a handler, by the names that the caller wrote."""
    sent = scope.get(SENT_NAMES, {})
    headers: dict[str, str] = {}
    for raw, value in scope["headers"]:
        if name := sent_name(sent[raw]) if raw in sent else written_name(raw):
            headers[name] = value.decode("latin-1")
    return headers


def _without_type(request: Request) -> tuple[Request, dict[str, str]]:
    """Return the request without its content type, and the header that said it."""
    others = {k: v for k, v in request.headers.items() if k.lower() != "content-type"}
    name = next((one for one in request.headers if one not in others), "Content-Type")
    return Request(request.body, "", others), {name: request.sent_type}


def _is_form(body: bytes) -> bool:
    return body.isascii() and _FORM.fullmatch(body) is not None


@lru_cache(1024)
def written_name(name: bytes) -> str:
    """Return a header's name as most clients write it; empty for one that is not for handlers."""
    text = name.decode("latin-1").lower()
    return "" if text in _NOT_FOR_HANDLERS else text.title()


@lru_cache(1024)
def sent_name(name: bytes) -> str:
    """Return a header's name as it was sent; empty for one that is not for handlers."""
    text = name.decode("latin-1")
    if text in _OF_FRONT_END or text.lower() in _NOT_FOR_HANDLERS:
        return written_name(name)
    return text
