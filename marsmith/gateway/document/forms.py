"""What a model takes and gives, read from its archive's samples and configuration."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from weakref import WeakKeyDictionary

from marsmith.answers.forms import MULTIPART
from marsmith.answers.pictures import is_data, picture_kind
from marsmith.answers.samples import Sample
from marsmith.archive.reader import Archive
from marsmith.core.errors import ArchiveError

JSON, TEXT, BYTES = "application/json", "text/plain", "application/octet-stream"
SMALL = 1024  # pixels: the longest side of what the page sends where a model needs no more
_OURS = "marsmith_handlers/"  # of archives whose handler takes a picture in any of the usual forms
_MOST = 64 << 10  # bytes of JSON and text that stand in the document themselves
_KNOWN: WeakKeyDictionary[Archive, Forms] = WeakKeyDictionary()


@dataclass(frozen=True)
class Body:
    """The body of a sample's request or of its expected answer.

    `value` is what JSON or text says; None for other bodies, and for long ones.
    """

    content_type: str
    value: Any = None
    is_mask: bool = False


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


@dataclass(frozen=True)
class Forms:
    """What a model takes and gives. `small`: it sees no more of a picture than SMALL pixels."""

    examples: tuple[Example, ...] = ()
    pictures: bool = False  # whether it takes them
    ours: bool = False
    small: bool = False


async def forms_of(archive: Archive | None) -> Forms:
    """Return what an archive tells; nothing of one that is not here, or cannot be read."""
    if archive is None:
        return Forms()
    if archive not in _KNOWN:
        _KNOWN[archive] = Forms()
        with suppress(ArchiveError):
            _KNOWN[archive] = await asyncio.to_thread(read_forms, archive)
    return _KNOWN[archive]


def read_forms(archive: Archive) -> Forms:
    """Read an archive's samples and configuration. Raises ArchiveError."""
    examples = tuple(_example(archive, one) for one in archive.samples)
    ours = any(name.startswith(_OURS) for name in archive.names)
    pictures = ours or any(one.request.content_type.startswith("image/") for one in examples)
    return Forms(examples, pictures, ours, _sees_little(archive.model_config.get("handler_config")))


def path_of(model: str) -> str:
    """Return where a model is in this gateway."""
    return f"/models/{quote(model, safe='')}"


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
    asked = _body(request.body, request.sent_type)
    return Example(asked, _body(archive.read(sample.response)), sample.headers)


def _body(body: bytes, sent_type: str = "") -> Body:
    kind = media_type(body)
    if sent_type.startswith(MULTIPART):
        return Body(sent_type)
    if kind in (JSON, TEXT) and len(body) <= _MOST:
        text = body.decode()
        return Body(sent_type or kind, json.loads(text) if kind == JSON else text)
    return Body(sent_type or kind, is_mask=is_data(body))


def _sees_little(config: Any) -> bool:
    """Tell whether a handler's configuration shrinks any picture to SMALL pixels or fewer."""
    values = config if isinstance(config, dict) else {}
    sides = values.get("size") or [values.get("longest_side")]
    sides = sides if isinstance(sides, list) else [sides]
    return all(isinstance(one, int) and 0 < one <= SMALL for one in sides)
