"""Forms, as bodies of the type multipart/form-data; no IO."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser

from marsmith.answers.messages import Request
from marsmith.core.errors import ClientError

MULTIPART = "multipart/form-data"
FORM = ".form"  # the ending of a file that holds the body of a form
_NAME = re.compile(r"[\w\-.\[\] ]+")  # no client and no server needs to escape these
_ODD = re.compile(r'[\x00-\x1f\x7f"\\;]')
_LINE = b"\r\n"
_FIRST_LINE = re.compile(rb"--([\w'()+,\-./:=?]{1,70})\r\n")


@dataclass(frozen=True)
class Field:
    """One field of a form: a text, or a file with its name and content type."""

    name: str
    value: bytes
    filename: str | None = None
    content_type: str = ""


def form(fields: Sequence[Field]) -> Request:
    """Return the request that a form is sent as; the same fields give the same bytes.

    Raises ClientError for a form without fields, or a name that a header cannot hold.
    """
    parts = [_head(field) + field.value for field in fields]
    if not parts:
        raise ClientError("the form has no field", "give it a field: NAME=VALUE", code="bad-form")
    boundary = b"form-" + hashlib.sha256(b"\0".join(parts)).hexdigest()[:32].encode()
    lines = [line for part in parts for line in (b"--" + boundary, part)]
    body = _LINE.join([*lines, b"--" + boundary + b"--", b""])
    return Request(body, f"{MULTIPART}; boundary={boundary.decode()}")


def _head(field: Field) -> bytes:
    if not _NAME.fullmatch(field.name):
        raise ClientError(
            f"a field of a form cannot be named {field.name!r}",
            "use letters, digits, '_', '-', '.', and brackets",
            code="bad-form",
        )
    place = f'Content-Disposition: form-data; name="{field.name}"'
    if field.filename is None:
        return f"{place}\r\n\r\n".encode()
    kind = field.content_type or "application/octet-stream"
    if _ODD.search(kind.replace(";", "")):
        raise ClientError(
            f"{kind!r} is not a content type", "write it as image/png", code="bad-form"
        )
    name = _ODD.sub("_", field.filename)
    return f'{place}; filename="{name}"\r\nContent-Type: {kind}\r\n\r\n'.encode()


def type_of_form(body: bytes) -> str:
    """Return the content type of a form's body; empty for another body."""
    first = _FIRST_LINE.match(body)
    return f'{MULTIPART}; boundary="{first[1].decode()}"' if first else ""


def boundary_of(content_type: str) -> str | None:
    """Return what is between the parts of a form; None if it is not one that can be read."""
    if MULTIPART not in content_type.lower():  # of most requests: parsing it takes long
        return None
    message = _headers(f"Content-Type: {content_type}")
    boundary = message.get_param("boundary")
    is_form = message.get_content_type() == MULTIPART and isinstance(boundary, str) and boundary
    return str(boundary) if is_form else None


def fields_of(body: bytes, boundary: str) -> list[Field]:
    """Return the fields of a form's body. Raises ClientError if it is not a whole form."""
    mark = _LINE + b"--" + boundary.encode()
    _, *parts = (_LINE + body).split(mark)
    if not parts or not parts[-1].startswith(b"--"):
        raise ClientError(
            "the body is not a form with the boundary that its content type names",
            "send a whole form (curl -F NAME=@FILE), or give the body its own content type",
            code="bad-form",
        )
    return list(_fields(parts[:-1]))


def _fields(parts: Sequence[bytes]) -> Iterator[Field]:
    for part in parts:
        head, _, value = part.removeprefix(_LINE).partition(_LINE * 2)
        message = _headers(head.decode(errors="replace"))
        name = message.get_param("name", header="content-disposition")
        if isinstance(name, str):
            filename = message.get_param("filename", header="content-disposition")
            typed = message.get_content_type() if "content-type" in message else ""
            yield Field(name, value, filename if isinstance(filename, str) else None, typed)


def _headers(text: str) -> Message:
    return HeaderParser().parsestr(text.strip() + "\r\n\r\n", headersonly=True)
