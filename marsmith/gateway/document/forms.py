"""What a model takes and gives, read from its archive's samples and configuration."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote
from weakref import WeakKeyDictionary

from marsmith.answers.forms import MULTIPART, boundary_of, fields_of
from marsmith.answers.pictures import is_data, picture_kind
from marsmith.answers.samples import Sample
from marsmith.archive.reader import Archive
from marsmith.core.errors import ArchiveError, ClientError
from marsmith.gateway.document.handler_source import is_ours, offered, reads_exif

JSON, TEXT, BYTES = "application/json", "text/plain", "application/octet-stream"
SMALL = 1024  # pixels: the longest side of what the page sends where a model needs no more
_MOST = 64 << 10  # bytes of JSON and text that stand in the document themselves
_OTHERS = {"accept", "content-type", "content-length", "authorization", "host", "x-api-key"}
_KNOWN: WeakKeyDictionary[Archive, Forms] = WeakKeyDictionary()


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


@dataclass(frozen=True)
class Example:
    """A sample: a request and its expected answer."""

    request: Body
    answer: Body
    headers: Mapping[str, str]

    @property
    def accept(self) -> str:
        """The media types that its request asks for."""
        named = (value for name, value in self.headers.items() if name.lower() == "accept")
        return next(named, "*/*")

    @property
    def more_headers(self) -> dict[str, str]:
        """The headers of its request beside those of its body, its answer and its key."""
        items = self.headers.items()
        return {name: value for name, value in items if name.lower() not in _OTHERS}


@dataclass(frozen=True)
class Forms:
    """What a model takes and gives. `small`: it sees no more of a picture than SMALL pixels.

    `offered` are media types that it answers with when asked for them.
    """

    examples: tuple[Example, ...] = ()
    pictures: bool = False  # whether it takes them
    ours: bool = False
    small: bool = False
    offered: tuple[str, ...] = ()


async def forms_of(archive: Archive | None) -> Forms:
    """Return what an archive tells; nothing of one that is not here, or cannot be read."""
    if archive is None:
        return Forms()
    if archive not in _KNOWN:
        found = Forms()
        with suppress(ArchiveError):
            found = await asyncio.to_thread(read_forms, archive)
        _KNOWN[archive] = found  # only when it is read: others may ask meanwhile
    return _KNOWN[archive]


def read_forms(archive: Archive) -> Forms:
    """Read an archive's samples and configuration. Raises ArchiveError."""
    examples = tuple(_example(archive, one) for one in archive.samples)
    ours = is_ours(archive)
    pictures = ours or any(one.request.content_type.startswith("image/") for one in examples)
    small = _sees_little(archive.model_config.get("handler_config")) and not reads_exif(archive)
    return Forms(examples, pictures, ours, small, offered(archive) if ours else ())


def path_of(model: str) -> str:
    """Return where a model is in this gateway."""
    return f"/models/{quote(model, safe='')}"


def sample_path(model: str, number: int, part: str) -> str:
    """Return where the `request` or the `answer` of a model's sample is."""
    return f"{path_of(model)}/samples/{number}/{part}"


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


def _example(archive: Archive, sample: Sample) -> Example:
    request = archive.request_of(sample)
    asked = Example(_body(request.body, request.sent_type), Body(BYTES), sample.headers)
    return replace(asked, answer=_answer(archive.read(sample.response), asked.accept))


def _answer(body: bytes, accept: str) -> Body:
    """Return an answer's body; what was asked for as text is text, even if it reads as JSON."""
    found = _body(body)
    wanted = accept.partition(",")[0].partition(";")[0].strip().lower()
    is_text = wanted.startswith("text/") and "*" not in wanted
    if not is_text or found.media_type not in (JSON, TEXT):
        return found
    return Body(wanted, body.decode() if len(body) <= _MOST else None)


def _body(body: bytes, sent_type: str = "") -> Body:
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


def _sees_little(config: Any) -> bool:
    """Tell whether a handler's configuration shrinks any picture to SMALL pixels or fewer."""
    values = config if isinstance(config, dict) else {}
    sides = values.get("size") or [values.get("longest_side")]
    sides = sides if isinstance(sides, list) else [sides]
    return all(isinstance(one, int) and 0 < one <= SMALL for one in sides)
