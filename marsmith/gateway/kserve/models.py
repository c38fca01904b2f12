"""What both faces of the Open Inference Protocol, HTTP's and gRPC's, answer of models.

What a model takes and gives is told by its archive's first sample.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

from marsmith import __version__
from marsmith.answers.messages import Response
from marsmith.answers.pictures import picture_kind
from marsmith.archive.reader import Archive
from marsmith.client.description import Model
from marsmith.gateway.backend import Backend, Call
from marsmith.gateway.kserve.answers import JSON
from marsmith.gateway.kserve.calls import answer_all
from marsmith.gateway.kserve.rows import OUTPUT, Signature, Specs, outputs_of, requests_of, spec
from marsmith.gateway.kserve.tensors import Tensor
from marsmith.gateway.refusals import malformed

SERVER: dict[str, Any] = {
    "name": "marsmith",
    "version": __version__,
    "extensions": ["binary_tensor_data"],
}
_HANDLERS = "marsmith_handlers/image_request.py"
_MOST = 1 << 20  # bytes of a sample that are looked at
_KNOWN: WeakKeyDictionary[Archive, Signature] = WeakKeyDictionary()


async def told(
    backend: Backend, method: str, model: str = "", version: str | None = None
) -> dict[str, Any]:
    """Return what is told of a server or a model: the fields of a method's answer over gRPC.

    A server is ready while models can answer, even if some workers are missing. Raises
    GatewayError.
    """
    match method:
        case "ServerLive":
            return {"live": True}
        case "ServerReady":
            return {"ready": await backend.health() != "Unhealthy"}
        case "ServerMetadata":
            return SERVER
        case "ModelReady":
            return {"ready": (await backend.describe(model, version)).ready_workers > 0}
        case "ModelMetadata":
            return await _metadata(backend, model, version)
        case _:  # RepositoryIndex, of Triton's extension
            return {"models": [_state(one) for one in await backend.models()]}


async def _metadata(backend: Backend, model: str, version: str | None) -> dict[str, Any]:
    described = await backend.describe(model, version)
    signature = await _signature(backend, model, described.version)
    return {
        "name": model,
        "versions": [one.version for one in await backend.models() if one.name == model],
        "platform": "torchserve_mar",
        "inputs": list(signature.inputs),
        "outputs": list(signature.outputs),
    }


def _state(model: Model) -> dict[str, str]:
    state = "READY" if model.ready_workers else "UNAVAILABLE"
    return {"name": model.name, "version": model.version, "state": state}


async def infer(
    backend: Backend, call: Call, inputs: Sequence[Tensor], wanted: Sequence[str]
) -> tuple[str, list[Tensor]]:
    """Return the version that answered, and the wanted outputs, or all. Raises MarsmithError."""
    if len({tensor.name for tensor in inputs}) != len(inputs) or not inputs:
        raise malformed("the inputs have no names of their own", "send inputs of different names")
    signature = await _signature(backend, call.model, call.version)
    answers = await answer_all(backend, call, requests_of(inputs, signature))
    outputs = {one.name: one for one in outputs_of([answer for _, answer in answers])}
    for name in wanted:
        if name not in outputs:
            raise malformed(f"there is no output {name!r:.60}", f"there is: {', '.join(outputs)}")
    return answers[0][0], [outputs[name] for name in wanted or outputs]


async def _signature(backend: Backend, model: str, version: str | None) -> Signature:
    archive = backend.archive(model, version)
    if archive is None:
        return Signature(pictures=True)
    if archive not in _KNOWN:
        _KNOWN[archive] = await asyncio.to_thread(signature_of, archive)
    return _KNOWN[archive]


def signature_of(archive: Archive) -> Signature:
    """Read what an archive tells of its model. Raises ArchiveError."""
    ours = _HANDLERS in archive.names
    known = Signature((spec("image"),), pictures=True, tensors=True) if ours else Signature()
    if not archive.samples:
        return known
    sample = archive.samples[0]
    body, answer = archive.read(sample.request, _MOST), archive.read(sample.response, _MOST)
    outputs = _specs(answer)
    if ours and picture_kind(answer):  # as JSON holds it: image_response.write_image
        outputs = (spec("image"), spec("content_type"))
    if ours or picture_kind(body):
        return replace(known, inputs=(spec("image"),), outputs=outputs, pictures=True)
    if sample.content_type.partition(";")[0].strip() == JSON and _specs(body)[0]["name"] != OUTPUT:
        return Signature(_specs(body), outputs, keyed=True)
    return Signature(outputs=outputs, content_type=sample.content_type)


def _specs(body: bytes) -> Specs:
    columns = outputs_of([Response(200, "", {}, body)])
    return tuple(spec(one.name, one.datatype, len(one.shape)) for one in columns)
