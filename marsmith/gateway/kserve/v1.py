"""KServe's v1 protocol: POST /v1/models/NAME:predict with {"instances": […]}.

Each instance is one request to the model: {"b64": …} is sent as the bytes that it stands for (as
TensorFlow Serving has it), and any other value as JSON.
"""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from pydantic_core import from_json
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import BaseRoute

from marsmith.answers import messages
from marsmith.answers.messages import Request
from marsmith.gateway.backend import Backend, Call
from marsmith.gateway.kserve.answers import (
    JSON,
    b64decode,
    mount,
    named,
    parsed,
    ready,
    route,
    said,
)
from marsmith.gateway.kserve.calls import answer_all
from marsmith.gateway.reading import read_call
from marsmith.gateway.refusals import malformed

_KEYS = {"instances", "inputs", "parameters", "signature_name"}
_ENVELOPES = ("kserve", "json")  # of old archives, which read {"instances": […]} themselves
_EXAMPLE = 'send {"instances": [{"b64": "…"}, …]}'


def routes(backend: Backend) -> list[BaseRoute]:
    """Return the routes of this face."""

    async def listed(_: HttpRequest) -> Response:
        return said({"models": sorted({model.name for model in await backend.models()})})

    async def asked(http: HttpRequest, *, explain: bool = False) -> Response:
        return await _answer(backend, await read_call(http, *named(http), explain=explain))

    inner = [route("/models", listed)]
    for place in ("/models/{model}", "/models/{model}/versions/{version}"):
        inner += [
            route(place + ":predict", asked, "POST"),
            route(place + ":explain", partial(asked, explain=True), "POST"),
            route(place, partial(ready, backend)),
        ]
    return [mount("/v1", inner)]


async def _answer(backend: Backend, call: Call) -> Response:
    requests = _requests(parsed(call.request.body))
    archive = backend.archive(call.model, call.version)
    if archive is not None and archive.manifest.envelope in _ENVELOPES:
        whole = replace(call.request, content_type=JSON)
        ((_, answer),) = await answer_all(backend, call, [whole])
        return Response(answer.body, media_type=JSON)
    answers = await answer_all(backend, call, requests)
    values = b", ".join(_value(answer) for _, answer in answers)
    key = b"explanations" if call.explain else b"predictions"
    return Response(b'{"%b": [%b]}' % (key, values), media_type=JSON)


def _requests(values: dict[str, Any]) -> list[Request]:
    if unknown := sorted(values.keys() - _KEYS):
        raise malformed(f"there is no key {unknown[0]!r:.60} in KServe's v1 protocol", _EXAMPLE)
    given = [values[key] for key in ("instances", "inputs") if key in values]
    if len(given) != 1 or not isinstance(given[0], list):
        raise malformed("the request holds no list of instances", _EXAMPLE)
    return [_request(index, instance) for index, instance in enumerate(given[0])]


def _request(index: int, instance: Any) -> Request:
    try:
        if isinstance(instance, dict) and instance.keys() == {"b64"}:
            return Request(b64decode(instance["b64"]))
        return Request(json.dumps(instance, allow_nan=False).encode(), JSON)
    except (AttributeError, ValueError) as error:
        hint = "send JSON; or the output of `base64 FILE` as its b64"
        raise malformed(f"instance {index} cannot be read: {error}", hint) from None


def _value(response: messages.Response) -> bytes:
    """Return an answer as a JSON value: JSON as it is, text as text, other bytes as base64."""
    if response.content_type in ("", JSON):
        with suppress(ValueError):
            from_json(response.body, allow_inf_nan=False)
            return response.body
    try:
        return json.dumps(response.body.decode()).encode()
    except UnicodeDecodeError:
        return json.dumps({"b64": base64.b64encode(response.body).decode()}).encode()
