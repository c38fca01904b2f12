"""What the bodies of samples are: by their bytes, and by what is said of them; no IO."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from marsmith.answers.forms import MULTIPART, boundary_of, fields_of
from marsmith.answers.pictures import is_data, picture_kind
from marsmith.core.errors import ClientError

JSON, TEXT, BYTES = "application/json", "text/plain", "application/octet-stream"
_MOST = 64 << 10  # bytes of JSON and text that stand in the document themselves


@dataclass(frozen=True)
class FormField:
    """A field of a sample's form: a file, or a text with its value."""

    name: str
    is_file: bool
    text: str = ""


@dataclass(frozen=True)
class Body:
    """The body of a sample's request or of its expected answer.

    `value` is what JSON or text says; None for other bodies, and for long ones.
    """

    content_type: str
    value: Any = None
    is_mask: bool = False
    fields: tuple[FormField, ...] = ()

    @property
    def media_type(self) -> str:
        """Its content type without parameters."""
        return self.content_type.partition(";")[0].strip().lower()


def media_type(body: bytes) -> str:
    """Return what a body is by its bytes: a picture, JSON, text, or else just bytes."""
    if kind := picture_kind(body):
        return f"image/{'jpeg' if kind == 'jpg' else kind}"
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return BYTES
    with suppress(ValueError, RecursionError):
        json.loads(text)
        return JSON
    return TEXT if all(one.isprintable() or one.isspace() for one in text) else BYTES


def answer_of(body: bytes, accept: str) -> Body:
    """Return an answer's body; what was asked for as text is text, even if it reads as JSON."""
    found = body_of(body)
    wanted = accept.partition(",")[0].partition(";")[0].strip().lower()
    is_text = wanted.startswith("text/") and "*" not in wanted
    if not is_text or found.media_type not in (JSON, TEXT):
        return found
    return Body(wanted, body.decode() if len(body) <= _MOST else None)


def body_of(body: bytes, sent_type: str = "") -> Body:
    """Return what a body is; `sent_type` is the content type that it is sent with, if any."""
    kind = media_type(body)
    if sent_type.lower().startswith(MULTIPART):
        return Body(sent_type, fields=_fields(body, sent_type))
    if kind in (JSON, TEXT) and len(body) <= _MOST:
        text = body.decode()
        return Body(sent_type or kind, json.loads(text) if kind == JSON else text)
    return Body(sent_type or kind, is_mask=is_data(body))


def _fields(body: bytes, sent_type: str) -> tuple[FormField, ...]:
    with suppress(ClientError):
        found = fields_of(body, boundary_of(sent_type) or "")
        return tuple(_field(one.name, one.value, one.filename) for one in found)
    return ()


def _field(name: str, value: bytes, filename: str | None) -> FormField:
    if filename is not None:
        return FormField(name, is_file=True)
    return FormField(name, False, value[:_MOST].decode(errors="replace"))
