"""KServe's v1 protocol: POST /v1/models/NAME:predict with {"instances": […]}.

Each instance is one request to the model: {"b64": …} is sent as the bytes that it stands for (as
TensorFlow Serving has it), and any other value as JSON.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from marsmith.answers import messages
from marsmith.answers.messages import Request
from marsmith.gateway.backend import Answer, Backend, Call
from marsmith.gateway.kserve_answers import JSON, answering, is_ready, json_of, parsed, said
from marsmith.gateway.many_calls import answer_all, calls_of
from marsmith.gateway.reading import read_call
from marsmith.gateway.refusals import malformed

_KEYS = {"instances", "inputs", "parameters", "signature_name"}
# Envelopes of old archives which read {"instances": […]} themselves.
_ENVELOPES = ("kserve", "json")
_EXAMPLE = 'send {"instances": [{"b64": "…"}, …]}'


def routes(backend: Backend) -> list[BaseRoute]:
    """Return the routes of this face."""

    @answering
    async def listed(_: HttpRequest) -> Response:
        return said({"models": sorted({model.name for model in await backend.models()})})

    @answering
    async def ready(http: HttpRequest) -> Response:
        model, version = _named(http)
        up = await is_ready(backend, model, version)
        return said({"name": model, "ready": up}, 200 if up else 503)

    async def asked(http: HttpRequest, *, explain: bool) -> Response:
        call = await read_call(http, *_named(http), explain=explain)
        return await _answered(backend, call)

    @answering
    async def predict(http: HttpRequest) -> Response:
        return await asked(http, explain=False)

    @answering
    async def explain(http: HttpRequest) -> Response:
        return await asked(http, explain=True)

    inner: list[BaseRoute] = [Route("/models", listed, methods=["GET"])]
    for place in ("/models/{model}", "/models/{model}/versions/{version}"):
        inner += [
            Route(place + ":predict", predict, methods=["POST"]),
            Route(place + ":explain", explain, methods=["POST"]),
            Route(place, ready, methods=["GET"]),
        ]
    return [Mount("/v1", routes=inner)]


def _named(http: HttpRequest) -> tuple[str, str | None]:
    return http.path_params["model"], http.path_params.get("version")


async def _answered(backend: Backend, call: Call) -> Response:
    requests = _requests(parsed(call.request.body))
    archive = backend.archive(call.model, call.version)
    if archive is not None and archive.manifest.envelope in _ENVELOPES:
        whole = replace(call.request, content_type=JSON)
        (answer,) = await answer_all(backend, calls_of(call, [whole]))
        return Response(answer.response.body, media_type=JSON)
    answers = await answer_all(backend, calls_of(call, requests))
    key = b"explanations" if call.explain else b"predictions"
    return Response(_joined(key, answers), media_type=JSON)


def _requests(values: dict[str, Any]) -> list[Request]:
    if unknown := sorted(values.keys() - _KEYS):
        raise malformed(f"there is no key {unknown[0]!r:.60} in KServe's v1 protocol", _EXAMPLE)
    given = [key for key in ("instances", "inputs") if key in values]
    instances = values[given[0]] if len(given) == 1 else None
    if not isinstance(instances, list):
        raise malformed("the request holds no list of instances", _EXAMPLE)
    return [_request(index, instance) for index, instance in enumerate(instances)]


def _request(index: int, instance: Any) -> Request:
    if not isinstance(instance, dict) or instance.keys() != {"b64"}:
        return Request(json.dumps(instance).encode(), JSON)
    try:
        text = "".join(instance["b64"].split())
        return Request(base64.b64decode(text, validate=True))
    except (AttributeError, ValueError, binascii.Error):
        hint = "send the output of `base64 FILE` as its b64"
        raise malformed(f"instance {index}: its b64 is not base64", hint) from None


def _joined(key: bytes, answers: Sequence[Answer]) -> bytes:
    values = b", ".join(_value(answer.response) for answer in answers)
    return b'{"%b": [%b]}' % (key, values)


def _value(response: messages.Response) -> bytes:
    """Return an answer as a JSON value: JSON as it is, text as text, other bytes as base64."""
    try:
        json_of(response)
    except ValueError:
        pass
    else:
        return response.body
    try:
        return json.dumps(response.body.decode()).encode()
    except UnicodeDecodeError:
        return json.dumps({"b64": base64.b64encode(response.body).decode()}).encode()
