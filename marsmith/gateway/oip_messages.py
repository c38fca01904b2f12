"""Requests and answers of the Open Inference Protocol over HTTP, as data; no IO.

With the binary extension, a message is JSON followed by the bytes of tensors in their order. The
header Inference-Header-Content-Length says how long the JSON is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from marsmith.gateway.kserve_answers import parsed
from marsmith.gateway.oip_tensors import Tensor, from_bytes, from_values, to_bytes, to_json
from marsmith.gateway.refusals import malformed

_EXAMPLE = (
    'send {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": ["base64"], '
    '"parameters": {"content_type": "base64"}}]}'
)


@dataclass(frozen=True)
class Wanted:
    """An output that a request asks for; `binary`: as bytes."""

    name: str
    binary: bool


@dataclass(frozen=True)
class InferRequest:
    """What a request holds. Without `wanted` it is all outputs, as bytes if `binary`."""

    inputs: tuple[Tensor, ...]
    wanted: tuple[Wanted, ...] | None = None
    binary: bool = False
    id: str = ""


@dataclass(frozen=True)
class InferAnswer:
    """The outputs that a request asked for, with how each is sent."""

    model: str
    version: str
    id: str
    outputs: Sequence[tuple[Tensor, bool]]


def read_request(body: bytes, json_length: str | None) -> InferRequest:
    """Read the body of a request; `json_length` is the header's. Raises GatewayError."""
    whole = memoryview(body)
    length = len(body) if json_length is None else _length(json_length, len(body))
    values, left = parsed(whole[:length]), whole[length:]
    inputs = []
    for given in _objects(values, "inputs"):
        tensor, left = _input(given, left)
        inputs.append(tensor)
    if len(left):
        raise malformed(f"{len(left)} bytes belong to no input", "give each its binary_data_size")
    return selected(
        inputs,
        [(_name(one), _parameters(one)) for one in _objects(values, "outputs", needed=False)],
        _parameters(values),
        _id(values.get("id")),
    )


def selected(
    inputs: Sequence[Tensor],
    outputs: Sequence[tuple[str, dict[str, Any]]],
    parameters: dict[str, Any],
    request_id: str,
) -> InferRequest:
    """Return a request for some outputs, each with its parameters. Raises GatewayError."""
    binary = bool(parameters.get("binary_data_output", False))
    names = [tensor.name for tensor in inputs]
    if len(set(names)) != len(names):
        raise malformed("two inputs have one name", "give each input a name of its own")
    for _, own in outputs:
        refuse_extensions(own)
    wanted = tuple(Wanted(name, bool(own.get("binary_data", binary))) for name, own in outputs)
    return InferRequest(tuple(inputs), wanted or None, binary, request_id)


def chosen(request: InferRequest, outputs: Sequence[Tensor]) -> list[tuple[Tensor, bool]]:
    """Return the outputs that a request asks for, in its order. Raises GatewayError."""
    if request.wanted is None:
        return [(tensor, request.binary) for tensor in outputs]
    by_name = {tensor.name: tensor for tensor in outputs}
    for wanted in request.wanted:
        if wanted.name not in by_name:
            hint = f"outputs here: {', '.join(by_name)}"
            raise malformed(f"the model has no output {wanted.name!r:.60}", hint)
    return [(by_name[wanted.name], wanted.binary) for wanted in request.wanted]


def written(answer: InferAnswer) -> tuple[bytes, int | None]:
    """Return the body of an answer, and the length of its JSON if bytes follow it."""
    described, parts = [], []
    for tensor, binary in answer.outputs:
        if not binary:
            described.append(to_json(tensor))
            continue
        parts.append(to_bytes(tensor))
        described.append(
            {
                "name": tensor.name,
                "datatype": tensor.datatype,
                "shape": list(tensor.shape),
                "parameters": {"binary_data_size": len(parts[-1])},
            }
        )
    values = {"model_name": answer.model, "model_version": answer.version, "outputs": described}
    if answer.id:
        values["id"] = answer.id
    head = json.dumps(values).encode()
    return b"".join([head, *parts]), len(head) if parts else None


def _length(text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(most)) or int(text) > most:
        hint = "let Inference-Header-Content-Length be the length of the JSON in bytes"
        raise malformed(f"the body has {most} bytes, and its JSON {text[:40]}", hint)
    return int(text)


def _input(given: dict[str, Any], left: memoryview) -> tuple[Tensor, memoryview]:
    """Return a tensor, and the bytes that follow its own."""
    name, parameters = _name(given), _parameters(given)
    refuse_extensions(parameters)
    datatype, shape = given.get("datatype"), given.get("shape")
    if not isinstance(datatype, str):
        raise malformed(f"{name}: its datatype is no text", _EXAMPLE)
    if "binary_data_size" not in parameters:
        tensor = from_values(name, datatype, shape, given.get("data"))
        size = 0
    else:
        size = parameters["binary_data_size"]
        if type(size) is not int or not 0 <= size <= len(left) or "data" in given:
            why = f"{name}: the body does not hold its {str(size)[:40]} bytes, and them alone"
            raise malformed(why, "let binary_data_size be the number of its bytes after the JSON")
        tensor = from_bytes(name, datatype, shape, left[:size])
    return Tensor(name, datatype, tensor.shape, tensor.values, parameters), left[size:]


def _objects(values: dict[str, Any], key: str, *, needed: bool = True) -> list[dict[str, Any]]:
    found = values.get(key, None if needed else [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise malformed(f"{key!r} is not a list of objects", _EXAMPLE)
    if needed and not found:
        raise malformed(f"{key!r} is empty", _EXAMPLE)
    return found


def _name(given: dict[str, Any]) -> str:
    name = given.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= 256:
        raise malformed("a tensor has no name, or a very long one", _EXAMPLE)
    return name


def _parameters(given: dict[str, Any]) -> dict[str, Any]:
    parameters = given.get("parameters", {})
    if not isinstance(parameters, dict):
        raise malformed("'parameters' are no object", _EXAMPLE)
    return parameters


def refuse_extensions(parameters: dict[str, Any]) -> None:
    """Refuse what parameters of a tensor ask for and nobody here does. Raises GatewayError."""
    for name in ("shared_memory_region", "classification"):
        if parameters.get(name):
            hint = "send the tensor itself" if "shared" in name else "take the whole output"
            raise malformed(f"the extension {name} is not offered here", hint)


def _id(value: Any) -> str:
    if not isinstance(value, (str, type(None))):
        raise malformed("the id is no text", 'send it as "id": "a"')
    return value or ""
