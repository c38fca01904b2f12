"""What both faces of the Open Inference Protocol, HTTP's and gRPC's, answer of models.

What a model takes and gives is told by its archive's first sample.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from marsmith import __version__
from marsmith.answers.messages import Response
from marsmith.answers.pictures import picture_kind
from marsmith.archive.reader import Archive
from marsmith.gateway.backend import Backend, Call
from marsmith.gateway.kserve.answers import JSON
from marsmith.gateway.kserve.calls import answer_all
from marsmith.gateway.kserve.rows import OUTPUT, Form, outputs_of, requests_of
from marsmith.gateway.kserve.tensors import BYTES, Tensor
from marsmith.gateway.refusals import malformed

SERVER = {
    "name": "marsmith",
    "version": __version__,
    "extensions": ["binary_tensor_data", "model_repository"],
}
_HANDLERS = "marsmith_handlers/image_request.py"
_MOST = 1 << 20  # bytes of a sample that are looked at
Specs = list[dict[str, Any]]  # names, datatypes, shapes: -1 where requests may differ


@dataclass(frozen=True)
class Signature:
    """What a model takes and gives, as far as it is known."""

    form: Form
    inputs: Specs | None = None
    outputs: Specs | None = None


_KNOWN: WeakKeyDictionary[Archive, Signature] = WeakKeyDictionary()


async def ready(backend: Backend) -> bool:
    """Tell whether models can answer; one that lacks some workers still can."""
    return await backend.health() != "Unhealthy"


async def metadata(backend: Backend, model: str, version: str | None) -> dict[str, Any]:
    """Return what the protocol tells of a model. Raises GatewayError if there is none."""
    described = await backend.describe(model, version)
    signature = await _signature(backend, model, described.version)
    return {
        "name": model,
        "versions": [one.version for one in await backend.models() if one.name == model],
        "platform": "torchserve_mar",
        "inputs": signature.inputs or [_spec("input")],
        "outputs": signature.outputs or [_spec(OUTPUT)],
    }


async def index(backend: Backend, *, only_ready: bool = False) -> list[dict[str, str]]:
    """Return the versions of all models, in the form of Triton's extension."""
    states = {True: ("READY", ""), False: ("UNAVAILABLE", "no worker is up")}
    models = [(one.name, one.version, one.ready_workers > 0) for one in await backend.models()]
    return [
        dict(zip(("name", "version", "state", "reason"), (name, version, *states[up]), strict=True))
        for name, version, up in models
        if up or not only_ready
    ]


async def infer(
    backend: Backend, call: Call, inputs: Sequence[Tensor], wanted: Sequence[str]
) -> tuple[str, list[Tensor]]:
    """Return the version that answered, and the wanted outputs, or all. Raises MarsmithError."""
    if len({tensor.name for tensor in inputs}) != len(inputs) or not inputs:
        raise malformed("the inputs have no names of their own", "send inputs of different names")
    form = (await _signature(backend, call.model, call.version)).form
    answers = await answer_all(backend, call, requests_of(inputs, form))
    outputs = {one.name: one for one in outputs_of([answer for _, answer in answers])}
    for name in wanted:
        if name not in outputs:
            raise malformed(f"there is no output {name!r:.60}", f"there is: {', '.join(outputs)}")
    return answers[0][0], [outputs[name] for name in wanted or outputs]


async def _signature(backend: Backend, model: str, version: str | None) -> Signature:
    archive = backend.archive(model, version)
    if archive is None:
        return Signature(Form(pictures=True))
    if archive not in _KNOWN:
        _KNOWN[archive] = await asyncio.to_thread(signature_of, archive)
    return _KNOWN[archive]


def signature_of(archive: Archive) -> Signature:
    """Read what an archive tells of its model. Raises ArchiveError."""
    ours = _HANDLERS in archive.names
    if not archive.samples:
        return Signature(Form(ours, ours), [_spec("image")] if ours else None)
    sample = archive.samples[0]
    body, answer = archive.read(sample.request, _MOST), archive.read(sample.response, _MOST)
    outputs = _specs(answer)
    if ours and picture_kind(answer):  # as JSON holds it: image_response.write_image
        outputs = [_spec("image"), _spec("content_type")]
    if ours or picture_kind(body):
        return Signature(Form(True, ours), [_spec("image")], outputs)
    if sample.content_type.partition(";")[0].strip() != JSON:
        return Signature(Form(content_type=sample.content_type), None, outputs)
    inputs = _specs(body)
    if inputs[0]["name"] == OUTPUT:
        return Signature(Form(content_type=JSON), None, outputs)
    return Signature(Form(keys=frozenset(one["name"] for one in inputs)), inputs, outputs)


def _specs(body: bytes) -> Specs:
    columns = outputs_of([Response(200, "", {}, body)])
    return [_spec(one.name, one.datatype, len(one.shape)) for one in columns]


def _spec(name: str, datatype: str = BYTES, dimensions: int = 1) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [-1] * dimensions}
