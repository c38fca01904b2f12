"""What an existing client sends, as a request for a model; no IO."""

from __future__ import annotations

import base64
import binascii
import json

from marsmith.answers.forms import boundary_of, fields_of, form
from marsmith.answers.messages import Request
from marsmith.gateway.old_clients.route import ClientRoute
from marsmith.gateway.refusals import GatewayError, malformed

NO_INPUT = "no-input"
_OF_BODY = {"accept", "content-length", "content-type", "transfer-encoding"}


def model_request(route: ClientRoute, sent: Request) -> Request:
    """Return the request for the model.

    Raises GatewayError (no-input, malformed-request) or ClientError (bad-form).
    """
    found = _picked(route, sent)
    body = _event_body(found.body) if route.event else found.body
    if route.input == "base64":
        body = _decoded(body)
    if not body:
        raise _no_input(route)
    headers = {name: one for name, one in sent.headers.items() if name.lower() not in _OF_BODY}
    if accept := route.accept or sent.headers.get("Accept"):
        headers["Accept"] = accept
    return Request(body, found.content_type, headers)


def _no_input(route: ClientRoute) -> GatewayError:
    where = f"field {' or '.join(route.fields)} of a form" if route.fields else "body"
    hint = f"send it as the {where}"
    return GatewayError("the request holds no input", hint, code=NO_INPUT, status=400)


def _picked(route: ClientRoute, sent: Request) -> Request:
    """Return the named fields of a form: one as a body of its own, several as a form."""
    boundary = boundary_of(sent.sent_type) if route.fields else None
    if boundary is None:
        return Request(sent.body, "" if route.fields else sent.sent_type)
    fields = fields_of(sent.body, boundary)
    named = [one for one in fields if one.name in route.fields and one.value]
    if len(named) > 1:
        return form(named)
    return Request(named[0].value if named else b"")


def _event_body(text: bytes) -> bytes:
    """Return the body in an event of AWS Lambda; empty if it has none."""
    try:
        event = json.loads(text or b"{}")
    except (ValueError, RecursionError) as error:
        raise malformed("the event is not JSON", 'send {"body": "…"}') from error
    body = event.get("body") if isinstance(event, dict) else None
    return body.encode("utf-8", "replace") if isinstance(body, str) else b""


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        hint = "send what `base64 FILE` prints"
        raise malformed("the input is not base64", hint) from error
