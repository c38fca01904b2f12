"""The Open Inference Protocol, version 2 of KServe's, over HTTP: health, metadata, inference.

With the binary extension, a message is JSON followed by the bytes of tensors in their order. The
header Inference-Header-Content-Length says how long the JSON is.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from pydantic_core import to_json
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import BaseRoute

from marsmith.gateway.backend import Backend
from marsmith.gateway.kserve import models
from marsmith.gateway.kserve.answers import JSON, mount, named, parsed, route, said
from marsmith.gateway.kserve.tensors import Tensor, json_of, tensor_of, to_bytes
from marsmith.gateway.reading import read_call
from marsmith.gateway.refusals import malformed

_LENGTH = "Inference-Header-Content-Length"
_EXAMPLE = (
    'send {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": ["base64"], '
    '"parameters": {"content_type": "base64"}}]}'
)


def routes(backend: Backend) -> list[BaseRoute]:
    """Return the routes of this face."""

    async def index(_: HttpRequest) -> Response:
        return said((await models.told(backend, "RepositoryIndex"))["models"])

    inner = [
        route("/health/live", partial(_told, backend, "ServerLive")),
        route("/health/ready", partial(_told, backend, "ServerReady")),
        route("/repository/index", index, "POST"),
    ]
    for place in ("/models/{model}", "/models/{model}/versions/{version}"):
        inner += [
            route(place + "/infer", partial(_infer, backend), "POST"),
            route(place + "/ready", partial(_told, backend, "ModelReady")),
            route(place, partial(_told, backend, "ModelMetadata")),
        ]
    return [route("/v2", partial(_told, backend, "ServerMetadata")), mount("/v2", inner)]


async def _told(backend: Backend, method: str, http: HttpRequest) -> Response:
    model, version = http.path_params.get("model", ""), http.path_params.get("version")
    values = await models.told(backend, method, model, version)
    if method == "ModelReady":
        values["name"] = model
    return said(values, 200 if values.get("ready", True) else 503)


async def _infer(backend: Backend, http: HttpRequest) -> Response:
    call = await read_call(http, *named(http))
    values, inputs = read_inputs(call.request.body, http.headers.get(_LENGTH))
    identifier, wanted = values.get("id", ""), _objects(values, "outputs", [])
    if not isinstance(identifier, str):
        raise malformed("the id is no text", _EXAMPLE)
    binary = bool(_parameters(values).get("binary_data_output"))
    as_bytes = {_name(one): bool(_parameters(one).get("binary_data", binary)) for one in wanted}
    version, outputs = await models.infer(backend, call, inputs, list(as_bytes))
    described, parts = [], []
    for tensor in outputs:
        if as_bytes.get(tensor.name, binary):
            parts.append(to_bytes(tensor))
            data: dict[str, Any] = {"parameters": {"binary_data_size": len(parts[-1])}}
        else:
            data = json_of(tensor)
        one = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        described.append(one | data)
    answer = {"model_name": call.model, "model_version": version, "outputs": described}
    head = to_json(answer | ({"id": identifier} if identifier else {}))
    if not parts:
        return Response(head, media_type=JSON)
    headers = {_LENGTH: str(len(head))}
    return Response(b"".join([head, *parts]), 200, headers, "application/octet-stream")


def read_inputs(body: bytes, json_length: str | None) -> tuple[dict[str, Any], list[Tensor]]:
    """Return the JSON of a request, and the tensors of its inputs. Raises GatewayError."""
    given = str(len(body)) if json_length is None else json_length
    if not (given.isascii() and given.isdigit()) or len(given) > 18 or int(given) > len(body):
        hint = f"let {_LENGTH} be the number of bytes of the JSON"
        raise malformed(f"the body has {len(body)} bytes, and its JSON {given[:40]}", hint)
    values, left = parsed(body[: int(given)]), memoryview(body)[int(given) :]
    inputs = []
    for one in _objects(values, "inputs"):
        name, parameters, data = _name(one), _parameters(one), one.get("data")
        if "binary_data_size" in parameters:
            size = parameters["binary_data_size"]
            if type(size) is not int or not 0 <= size <= len(left) or data is not None:
                why = f"{name}: after the JSON there are not its {size!r:.40} bytes"
                raise malformed(why, "let binary_data_size be the number of its bytes")
            data, left = left[:size], left[size:]
        inputs.append(tensor_of(name, one.get("datatype", ""), one.get("shape"), data, parameters))
    if len(left):
        raise malformed(f"{len(left)} bytes belong to no input", "give inputs a binary_data_size")
    return values, inputs


def _objects(values: dict[str, Any], key: str, default: Any = None) -> list[dict[str, Any]]:
    found = values.get(key, default)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise malformed(f"{key!r} is not a list of objects", _EXAMPLE)
    return found


def _name(given: dict[str, Any]) -> str:
    name = given.get("name")
    if not isinstance(name, str) or not name:
        raise malformed("a tensor has no name", _EXAMPLE)
    return name


def _parameters(given: dict[str, Any]) -> dict[str, Any]:
    parameters = given.get("parameters", {})
    if not isinstance(parameters, dict):
        raise malformed("'parameters' are no object", _EXAMPLE)
    return parameters
