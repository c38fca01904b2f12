"""What a model takes and gives, read from its archive's samples and configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote
from weakref import WeakKeyDictionary

from marsmith.answers.samples import Sample
from marsmith.archive.reader import Archive
from marsmith.core.errors import ArchiveError
from marsmith.gateway.document.bodies import BYTES, Body, answer_of, body_of
from marsmith.gateway.document.handler_source import is_ours, offered, reads_exif

SMALL = 1024  # pixels: the longest side of what the page sends where a model needs no more
_OTHERS = {"accept", "content-type", "content-length", "authorization", "host", "x-api-key"}
_KNOWN: WeakKeyDictionary[Archive, Forms] = WeakKeyDictionary()


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


def _example(archive: Archive, sample: Sample) -> Example:
    request = archive.request_of(sample)
    asked = Example(body_of(request.body, request.sent_type), Body(BYTES), sample.headers)
    return replace(asked, answer=answer_of(archive.read(sample.response), asked.accept))


def _sees_little(config: Any) -> bool:
    """Tell whether a handler's configuration shrinks any picture to SMALL pixels or fewer."""
    values = config if isinstance(config, dict) else {}
    sides = values.get("size") or [values.get("longest_side")]
    sides = sides if isinstance(sides, list) else [sides]
    return all(isinstance(one, int) and 0 < one <= SMALL for one in sides)
