"""Messages of the Open Inference Protocol's service, and the tensors in them."""

from __future__ import annotations

from typing import Any

import numpy as np

from marsmith.gateway.oip_messages import InferAnswer, InferRequest, refuse_extensions, selected
from marsmith.gateway.oip_tensors import BYTES, Tensor, from_bytes, from_values, to_bytes
from marsmith.gateway.refusals import malformed

_FIELDS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}


def read_request(message: Any) -> InferRequest:
    """Read a ModelInferRequest. Raises GatewayError."""
    raw = message.raw_input_contents
    if not message.inputs:
        raise malformed("the request has no inputs", "send at least one tensor")
    if raw and len(raw) != len(message.inputs):
        given = f"{len(raw)} raw contents for {len(message.inputs)} inputs"
        raise malformed(f"the request has {given}", "send the bytes of each input, in their order")
    inputs = [_input(one, raw[index] if raw else None) for index, one in enumerate(message.inputs)]
    outputs = [(one.name, _parameters(one)) for one in message.outputs]
    return selected(inputs, outputs, _parameters(message), message.id)


def written(answer: InferAnswer, *, raw: bool) -> dict[str, Any]:
    """Return the fields of a ModelInferResponse; `raw`: with tensors as bytes."""
    tensors = [tensor for tensor, _ in answer.outputs]
    fields = {
        "model_name": answer.model,
        "model_version": answer.version,
        "id": answer.id,
        "outputs": [_described(tensor, raw=raw) for tensor in tensors],
    }
    return {
        **fields,
        "raw_output_contents": [to_bytes(tensor) for tensor in tensors] if raw else [],
    }


def _described(tensor: Tensor, *, raw: bool) -> dict[str, Any]:
    described = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
    if raw:
        return described
    values = tensor.values
    flat = values.reshape(-1).tolist() if isinstance(values, np.ndarray) else values
    return {**described, "contents": {_FIELDS[tensor.datatype]: flat}}


def _input(given: Any, raw: bytes | None) -> Tensor:
    name, shape, parameters = given.name, list(given.shape), _parameters(given)
    refuse_extensions(parameters)
    if raw is not None:
        if given.HasField("contents"):
            hint = "send raw_input_contents for all inputs, or contents for each"
            raise malformed(f"{name} has contents beside the raw ones", hint)
        tensor = from_bytes(name, given.datatype, shape, memoryview(raw))
    else:
        field = _FIELDS.get(given.datatype)
        data = list(getattr(given.contents, field)) if field else []
        tensor = from_values(name, given.datatype, shape, data)
    return Tensor(name, tensor.datatype, tensor.shape, tensor.values, parameters)


def _parameters(given: Any) -> dict[str, Any]:
    kinds = {name: one.WhichOneof("parameter_choice") for name, one in given.parameters.items()}
    return {name: getattr(given.parameters[name], kind) for name, kind in kinds.items() if kind}
