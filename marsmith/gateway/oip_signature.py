"""What a model takes and gives, as tensors: told by its archive's first sample."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from marsmith.answers.messages import Response
from marsmith.answers.pictures import picture_kind
from marsmith.answers.requests import JSON
from marsmith.archive.reader import Archive
from marsmith.gateway.oip_outputs import outputs_of
from marsmith.gateway.oip_tensors import BYTES, Tensor

_MOST = 1 << 20  # bytes of a sample in JSON
_HANDLERS = "marsmith_handlers/image_request.py"


@dataclass(frozen=True)
class Spec:
    """One input or output. The size of a dimension is -1 where requests may differ in it."""

    name: str
    datatype: str = BYTES
    dimensions: int = 1

    @property
    def shape(self) -> list[int]:
        """The shape as metadata have it."""
        return [-1] * self.dimensions


@dataclass(frozen=True)
class Signature:
    """How rows of tensors become requests, and what comes back.

    A model that takes `pictures` is sent files. `tensors`: its handler also reads the model's input
    itself. `keyed`: a request is a JSON object, with one input for each of its keys. `content_type`
    is that of a request's body.
    """

    inputs: tuple[Spec, ...] = (Spec("input"),)
    outputs: tuple[Spec, ...] = (Spec("output"),)
    pictures: bool = False
    tensors: bool = False
    keyed: bool = False
    content_type: str = ""
    envelope: str = ""


_KNOWN: WeakKeyDictionary[Archive, Signature] = WeakKeyDictionary()


async def signature_of(archive: Archive | None) -> Signature:
    """Return an archive's signature; without one, that of a model of which nothing is known."""
    if archive is None:
        return Signature(pictures=True)
    if archive not in _KNOWN:
        _KNOWN[archive] = await asyncio.to_thread(read_signature, archive)
    return _KNOWN[archive]


def read_signature(archive: Archive) -> Signature:
    """Read an archive's signature. Raises ArchiveError."""
    ours = _HANDLERS in archive.names
    outputs = _outputs(archive, ours=ours)
    envelope = archive.manifest.envelope or ""
    if not archive.samples:
        name = "image" if ours else "input"
        return Signature((Spec(name),), outputs, ours, ours, envelope=envelope)
    sample = archive.samples[0]
    body = archive.read(sample.request, _MOST)
    if ours or picture_kind(body):
        return Signature((Spec("image"),), outputs, True, ours, envelope=envelope)
    if sample.content_type.partition(";")[0].strip() != JSON:
        return Signature(outputs=outputs, content_type=sample.content_type, envelope=envelope)
    inputs = _inputs(body)
    keyed = bool(inputs)
    return Signature(
        inputs or (Spec("input"),), outputs, keyed=keyed, content_type=JSON, envelope=envelope
    )


def _inputs(body: bytes) -> tuple[Spec, ...]:
    """Return an input for each key of a sample in JSON, if each value can be a tensor's row."""
    with suppress(ValueError, RecursionError):
        values = json.loads(body)
        if isinstance(values, dict) and all(_is_row(value) for value in values.values()):
            rows = _columns(values)
            return tuple(Spec(one.name, one.datatype, len(one.shape)) for one in rows)
    return ()


def _is_row(value: Any) -> bool:
    return not isinstance(value, (dict, type(None)))


def _columns(values: Mapping[str, Any]) -> list[Tensor]:
    return outputs_of([Response(200, "", {}, json.dumps(values).encode())])


def _outputs(archive: Archive, *, ours: bool) -> tuple[Spec, ...]:
    for sample in archive.samples[:1]:
        body = archive.read(sample.response, _MOST)
        if not picture_kind(body):
            columns = outputs_of([Response(200, "", {}, body)])
            return tuple(Spec(one.name, one.datatype, len(one.shape)) for one in columns)
        if ours:  # its picture as JSON holds it: image_response.write_image
            return (Spec("image"), Spec("content_type"))
    return (Spec("output"),)
