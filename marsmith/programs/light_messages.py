"""The worker's side of TorchServe's protocol (ts/protocol/otf_message_handler.py), without torch.

The front end's side, and the form of the messages, are in torchserve/worker_protocol.py.
"""

from __future__ import annotations

import io
import json
import logging
import os
import struct
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from marsmith.programs.light_context import Context

Read = Callable[[int], bytes]  # returns exactly so many bytes
LOAD, PREDICT = b"L", b"I"
_packed = struct.Struct("!i").pack
_END, _NOTHING = _packed(-1), _packed(0)
_GOES_ON = "ts_stream_next"


@dataclass(frozen=True)
class LoadRequest:
    """What a worker is asked to load."""

    name: str
    folder: str
    batch_size: int
    handler: str
    gpu: int | None
    limit_pixels: bool


@dataclass(frozen=True)
class InferenceRequest:
    """One request of a batch: `values` by parameter name, and `headers` as handlers get them."""

    id: str
    values: dict[str, Any]
    headers: dict[str, Any]


def read_load(read: Read) -> LoadRequest:
    """Read what follows LOAD. Envelopes are part of TorchServe, so the name of one is dropped."""
    name, folder = _text(read), _text(read)
    batch_size, handler, gpu = _int(read), _text(read), _int(read)
    _text(read)
    return LoadRequest(
        name, folder, batch_size, handler, gpu if gpu >= 0 else None, read(1) != b"\0"
    )


def read_batch(read: Read) -> list[InferenceRequest]:
    """Read what follows PREDICT."""
    batch = []
    while (length := _int(read)) != -1:
        request_id = read(length).decode()
        headers: dict[str, Any] = {}
        while (length := _int(read)) != -1:
            name = read(length).decode()
            headers[name] = _text(read)
        values: dict[str, Any] = {}
        types: dict[str, Any] = {}
        while (length := _int(read)) != -1:
            name, content_type = read(length).decode(), _text(read)
            values[name] = _decoded(read(_int(read)), content_type)
            types[name] = {"content-type": content_type}
        batch.append(InferenceRequest(request_id, values, {**types, **headers}))
    return batch


def _decoded(value: bytes, content_type: str) -> Any:
    """Return JSON's values and text as such, and all else as bytes, as TorchServe's worker does."""
    if os.environ.get("TS_DECODE_INPUT_REQUEST", "true") == "true":
        try:
            if content_type == "application/json":
                return json.loads(value.decode())
            if content_type.startswith("text"):
                return value.decode()
        except Exception:  # no JSON, no UTF-8, or nested without end
            logging.warning("A request's body is not %s: it is passed on as bytes", content_type)
    return bytearray(value)


def loaded(code: int, message: str) -> bytes:
    """Return the answer to a load."""
    return struct.pack("!i", code) + _sized(message.encode()) + _END


def failed(ids: Mapping[int, str], message: str, code: int) -> bytes:
    """Return the answer to a batch that failed as a whole."""
    plain = struct.pack("!iiii", 0, code, 0, 0)  # no content type, its status, no phrase, headers
    parts = [_sized(one.encode()) + plain + _sized(b"error") for one in ids.values()]
    return b"".join([struct.pack("!i", code), _sized(message.encode()), *parts, _END])


def answered(results: list[Any], ids: Mapping[int, str], context: Context) -> bytes:
    """Return the answer to a batch: one result for each request."""
    parts: list[bytes | bytearray] = [_SUCCESS]
    for index, request_id in ids.items():
        _mark_stream(context, index, results[index])
        try:
            body = _encoded(results[index])
        except TypeError:
            logging.warning("Unable to serialize model output.", exc_info=True)
            return failed(ids, "Unsupported model output data type.", 503)
        code, phrase = context.get_response_status(index)
        parts += [_sized(request_id.encode()), _short(context.get_response_content_type(index))]
        parts += [_packed(200 if code is None else code), _short(phrase)]
        parts += [_headers(context.get_response_headers(index)), _packed(len(body)), body]
    parts.append(_END)
    return b"".join(parts)


def _mark_stream(context: Context, index: int, result: Any) -> None:
    """Say whether more parts of this answer follow."""
    if context.stopping_criteria:
        stop = context.stopping_criteria[index](result)
        if stop is not None:
            context.set_response_header(index, _GOES_ON, "false" if stop else "true")
    elif context.get_response_headers(index).get(_GOES_ON) == "true":
        context.set_response_header(index, _GOES_ON, "false")


def _encoded(result: Any) -> bytes | bytearray:
    """Return a result as the body of an answer. Raises TypeError for what has no such form."""
    if isinstance(result, (bytes, bytearray)):
        return result
    if isinstance(result, str):
        return result.encode()
    torch: Any = sys.modules.get("torch")  # only a handler that imported it can return a tensor
    if torch is not None and isinstance(result, torch.Tensor):
        file = io.BytesIO()
        torch.save(result, file)
        return file.getvalue()
    return json.dumps(result, indent=2).encode()


def _headers(headers: Mapping[str, str]) -> bytes:
    parts = [_packed(len(headers))]
    for name, value in headers.items():
        parts += [_sized(name.encode()), _sized(value.encode())]
    return b"".join(parts)


def _short(text: str | None) -> bytes:
    """Give the length in characters: TorchServe's worker does so, and breaks on others than ASCII.

    An archive that breaks there must not seem to work here.
    """
    return _packed(len(text)) + text.encode() if text else _NOTHING


def _sized(data: bytes) -> bytes:
    return _packed(len(data)) + data


_SUCCESS = _packed(200) + _sized(b"Prediction success")


def _int(read: Read) -> int:
    value: int = struct.unpack("!i", read(4))[0]
    return value


def _text(read: Read) -> str:
    return read(_int(read)).decode()
