"""What the front end makes of a request before a worker gets it; no IO.

HttpRequestHandler and NettyUtils.getFormData of TorchServe 0.12.0: a body is one parameter, a form
has one for each field, and a parameter has the content type that was said, without its parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl

from marsmith.answers.forms import boundary_of, fields_of
from marsmith.answers.messages import Request
from marsmith.core.errors import ClientError

_URL_ENCODED = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Parameter:
    """A body, or one field of a form, as a worker gets it."""

    name: str
    value: bytes
    content_type: str = ""


def parameters_of(request: Request) -> list[Parameter]:
    """Return what a worker gets of a request. Raises ClientError for a broken form."""
    kind = request.sent_type.partition(";")[0]
    if boundary := boundary_of(request.sent_type):
        # Netty forgets the type of a field that is not a file.
        return [
            Parameter(one.name, one.value, "" if one.filename is None else one.content_type)
            for one in fields_of(request.body, boundary)
        ]
    if kind.lower() == _URL_ENCODED:
        return [Parameter(name, value.encode()) for name, value in _pairs(request.body)]
    return [Parameter("body", request.body, kind)]


def _pairs(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, errors="strict")
    except ValueError as error:
        raise ClientError(
            "the body is not a form, as its content type says",
            "give it its own content type; this one is that of a form",
            code="bad-form",
        ) from error
