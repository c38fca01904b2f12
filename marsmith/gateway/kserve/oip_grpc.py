"""The Open Inference Protocol over gRPC. Imports grpc, which is an extra."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any

import numpy as np
from google.protobuf import message_factory

from marsmith.answers.messages import Request
from marsmith.client.protos import open_inference_pb2
from marsmith.core.errors import MarsmithError
from marsmith.gateway.backend import Backend, Call
from marsmith.gateway.grpc_calls import abort, add_service
from marsmith.gateway.kserve import models
from marsmith.gateway.kserve.tensors import BYTES, Tensor, tensor_of, to_bytes
from marsmith.gateway.reading import written_name
from marsmith.gateway.refusals import malformed

_SERVICE: Any = open_inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
# The field of InferTensorContents for each datatype.
_CONTENTS = {"BOOL": "bool_contents", BYTES: "bytes_contents"}
_CONTENTS |= dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents")
_CONTENTS |= dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents")
_CONTENTS |= {name: f"{name.lower()}_contents" for name in ("INT64", "UINT64", "FP32", "FP64")}


def add_services(server: Any, backend: Backend) -> None:
    """Add the protocol's service to a server of grpc.aio."""
    methods = {one.name: partial(_answer, backend, one) for one in _SERVICE.methods}
    add_service(server, _SERVICE, methods)


async def _answer(backend: Backend, method: Any, request: Any, context: Any) -> Any:
    try:
        fields = await _fields(backend, method.name, request, context)
        return message_factory.GetMessageClass(method.output_type)(**fields)
    except MarsmithError as error:
        await abort(context, error)


async def _fields(backend: Backend, method: str, request: Any, context: Any) -> dict[str, Any]:
    """Return the fields of a method's answer."""
    if method == "ModelInfer":
        return await _infer(backend, request, context)
    model, version = getattr(request, "name", ""), getattr(request, "version", "") or None
    fields = await models.told(backend, method, model, version)
    if method == "RepositoryIndex" and request.ready:
        fields["models"] = [one for one in fields["models"] if one["state"] == "READY"]
    return fields


async def _infer(backend: Backend, message: Any, context: Any) -> dict[str, Any]:
    metadata = [(written_name(key.encode()), one) for key, one in context.invocation_metadata()]
    headers = {name: one for name, one in metadata if name and isinstance(one, str)}
    version, request_id = message.model_version or None, str(uuid.uuid4())
    call = Call(message.model_name, Request(b"", "", headers), request_id, version)
    wanted = list(dict.fromkeys(one.name for one in message.outputs))
    served, outputs = await models.infer(backend, call, _inputs(message), wanted)
    raw = bool(message.raw_input_contents)  # then outputs are sent so too
    described = [
        {"name": one.name, "datatype": one.datatype, "shape": one.shape} for one in outputs
    ]
    if not raw:
        described = [one | _contents(of) for one, of in zip(described, outputs, strict=True)]
    return {
        "model_name": message.model_name,
        "model_version": served,
        "id": message.id,
        "outputs": described,
        "raw_output_contents": map(to_bytes, outputs) if raw else (),
    }


def _inputs(message: Any) -> list[Tensor]:
    raw: list[Any] = [memoryview(one) for one in message.raw_input_contents]
    both = raw and any(one.HasField("contents") for one in message.inputs)
    if both or (raw and len(raw) != len(message.inputs)):
        given = f"{len(raw)} raw contents for {len(message.inputs)} inputs, or both forms of them"
        raise malformed(f"the request has {given}", "send the bytes of each input, in their order")
    data = raw or [_listed(one) for one in message.inputs]
    return [
        tensor_of(one.name, one.datatype, list(one.shape), values, _parameters(one))
        for one, values in zip(message.inputs, data, strict=True)
    ]


def _listed(given: Any) -> list[Any]:
    field = _CONTENTS.get(given.datatype)
    return list(getattr(given.contents, field)) if field else []


def _contents(tensor: Tensor) -> dict[str, Any]:
    values = tensor.values
    flat = values.reshape(-1).tolist() if isinstance(values, np.ndarray) else values
    return {"contents": {_CONTENTS[tensor.datatype]: flat}}


def _parameters(given: Any) -> dict[str, Any]:
    kinds = {name: one.WhichOneof("parameter_choice") for name, one in given.parameters.items()}
    return {name: getattr(given.parameters[name], kind) for name, kind in kinds.items() if kind}
