"""What both faces of the Open Inference Protocol answer, HTTP's and gRPC's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from marsmith import __version__
from marsmith.answers.messages import Request
from marsmith.answers.requests import JSON
from marsmith.core.errors import MarsmithError
from marsmith.gateway.backend import Backend, Call
from marsmith.gateway.many_calls import answer_all, calls_of
from marsmith.gateway.oip_messages import InferAnswer, InferRequest, chosen
from marsmith.gateway.oip_outputs import outputs_of
from marsmith.gateway.oip_requests import requests_of
from marsmith.gateway.oip_signature import Spec, signature_of
from marsmith.gateway.oip_tensors import Tensor, from_values, to_json
from marsmith.gateway.refusals import GatewayError

EXTENSIONS = ("binary_tensor_data", "model_repository")
_ENVELOPE = "kservev2"  # of old archives: it reads and writes the protocol's JSON itself


@dataclass(frozen=True)
class ModelMetadata:
    """What the protocol tells of a model."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[dict[str, Any], ...]
    outputs: tuple[dict[str, Any], ...]


def server_metadata() -> dict[str, Any]:
    """Return what the protocol tells of the server."""
    return {"name": "marsmith", "version": __version__, "extensions": list(EXTENSIONS)}


async def is_server_ready(backend: Backend) -> bool:
    """Tell whether models can answer. A model that lacks some workers still can."""
    return await backend.health() != "Unhealthy"


async def model_metadata(backend: Backend, model: str, version: str | None) -> ModelMetadata:
    """Return what the protocol tells of a model. Raises GatewayError if there is none."""
    described = await backend.describe(model, version)
    signature = await signature_of(backend.archive(model, described.version))
    versions = tuple(one.version for one in await backend.models() if one.name == model)
    return ModelMetadata(
        model,
        versions if version is None else (described.version,),
        "torchserve_mar",
        tuple(map(_described, signature.inputs)),
        tuple(map(_described, signature.outputs)),
    )


def _described(spec: Spec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": spec.shape}


async def index(backend: Backend) -> list[dict[str, str]]:
    """Return the versions of all models, and whether they are ready, as Triton's index has it."""
    return [
        {
            "name": model.name,
            "version": model.version,
            "state": "READY" if model.ready_workers else "UNAVAILABLE",
            "reason": "" if model.ready_workers else "no worker is up",
        }
        for model in await backend.models()
    ]


async def infer(backend: Backend, call: Call, request: InferRequest) -> InferAnswer:
    """Answer a request: each row of its inputs is a call of the model. Raises MarsmithError."""
    signature = await signature_of(backend.archive(call.model, call.version))
    if signature.envelope == _ENVELOPE:
        requests = [_as_json(request)]
    else:
        requests = requests_of(request.inputs, signature)
    answers = await answer_all(backend, calls_of(call, requests))
    if signature.envelope == _ENVELOPE:
        outputs = _of_envelope(answers[0].response.body)
    else:
        outputs = outputs_of([answer.response for answer in answers])
    return InferAnswer(call.model, answers[0].version, request.id, chosen(request, outputs))


def _as_json(request: InferRequest) -> Request:
    values = {"id": request.id, "inputs": [to_json(tensor) for tensor in request.inputs]}
    return Request(json.dumps(values).encode(), JSON)


def _of_envelope(body: bytes) -> list[Tensor]:
    try:
        outputs = from_json(body, allow_inf_nan=False)["outputs"]
        return [
            from_values(one["name"], one["datatype"], one["shape"], one["data"]) for one in outputs
        ]
    except (ValueError, KeyError, TypeError, MarsmithError) as error:
        raise GatewayError(
            f"the model's envelope gave another answer than the protocol has: {error}",
            "build the archive without an envelope",
            code="bad-envelope-answer",
            status=502,
        ) from error
