"""What TorchServe's front end and a worker say to each other, as data; no IO.

The worker's side is ts/protocol/otf_message_handler.py, the front end's
frontend/server/src/main/java/org/pytorch/serve/util/codec of TorchServe 0.12.0. Every number is a
big-endian int32, every text or body is preceded by its length, and -1 ends a list.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from http import HTTPStatus

from marsmith.answers.messages import Request, Response
from marsmith.core.errors import WorkerError
from marsmith.torchserve.front_end import parameters_of

Read = Callable[[int], bytes]  # returns exactly so many bytes
# As Netty has them; two have other names in later versions of Python.
_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_PHRASES |= {413: "Request Entity Too Large", 422: "Unprocessable Entity"}
_END = struct.pack("!i", -1)
# The header of an answer's part that another one follows (send_intermediate_predict_response).
_GOES_ON = "ts_stream_next"


def encode_load(
    name: str,
    folder: str,
    *,
    handler: str,
    batch_size: int = 1,
    envelope: str = "",
    gpu: int | None = None,
) -> bytes:
    """Ask a worker to load a model, without `gpu` on the CPU (ModelRequestEncoder.java)."""
    no_gpu, limit_pixels = -1, True
    return b"".join(
        (
            b"L",
            _sized(name.encode()),
            _sized(folder.encode()),
            struct.pack("!i", batch_size),
            _sized(handler.encode()),
            struct.pack("!i", no_gpu if gpu is None else gpu),
            _sized(envelope.encode()),
            struct.pack("!?", limit_pixels),
        )
    )


def encode_batch(requests: Sequence[Request], ids: Sequence[str]) -> bytes:
    """Ask a worker to answer a batch; `ids` are the requests' x-request-id.

    Raises ClientError for a form that the front end cannot read.
    """
    message = [b"I"]
    for request, request_id in zip(requests, ids, strict=True):
        message.append(_sized(request_id.encode()))
        # The front end adds these two to what the client sent (InputParameter, RequestInput).
        headers = {"explain": "False", "url_path": "", **request.sent_headers()}
        for name, value in headers.items():
            message += [_sized(name.encode()), _sized(value.encode())]
        message.append(_END)
        for parameter in parameters_of(request):
            message += [_sized(parameter.name.encode()), _sized(parameter.content_type.encode())]
            message.append(_sized(parameter.value))
        message.append(_END)
    return b"".join([*message, _END])


def read_loaded(read: Read) -> tuple[int, str]:
    """Read the status and message that answer a load; 200 is right."""
    code, message = _int(read), _text(read)
    _int(read)  # no predictions follow
    return code, message


def read_batch(read: Read, ids: Sequence[str]) -> list[Response]:
    """Read the answers to a batch, one per request, in order.

    Of answers that are sent in parts, status and headers are those of the first part, as they are
    on the wire. Raises WorkerError if they belong to other requests than `ids`.
    """
    parts = _read_message(read, ids)
    answers = dict(parts)
    while any(part.headers.get(_GOES_ON) == "true" for part in parts.values()):
        parts = _read_message(read, ids)
        for request_id, part in parts.items():
            so_far = answers[request_id]
            answers[request_id] = replace(so_far, body=so_far.body + part.body)
    return [answers[request_id] for request_id in ids]


def _read_message(read: Read, ids: Sequence[str]) -> dict[str, Response]:
    """Read one message: an answer, or a part of it, for each request."""
    code, message = _int(read), _text(read)
    answers: dict[str, Response] = {}
    while (length := _int(read)) != -1:
        request_id = read(length).decode(errors="replace")
        content_type = _text(read)
        status, reason = _int(read), _text(read)
        headers = {_text(read).lower(): _text(read) for _ in range(_int(read))}
        if content_type:
            headers["content-type"] = content_type
        body = read(_int(read))
        answers[request_id] = (
            Response(status, reason, headers, body) if code == 200 else refusal(code, message)
        )
    if answers.keys() != set(ids):
        raise WorkerError(
            "the worker answered other requests than it was sent",
            "let the handler leave context.request_ids unchanged",
            code="worker-protocol",
        )
    return answers


def refusal(code: int, message: str) -> Response:
    """Return what the front end makes of a whole batch that failed (NettyUtils.java, sendError)."""
    values = {"code": code, "type": "InternalServerException", "message": message}
    body = json.dumps(values, indent=2).encode() + b"\n"
    return Response(code, _PHRASES.get(code, ""), {"content-type": "application/json"}, body)


def _sized(data: bytes) -> bytes:
    return struct.pack("!i", len(data)) + data


def _int(read: Read) -> int:
    value: int = struct.unpack("!i", read(4))[0]
    return value


def _text(read: Read) -> str:
    return read(_int(read)).decode(errors="replace")
