"""What TorchServe's front end and a worker say to each other, as data; no IO.

The worker's side is ts/protocol/otf_message_handler.py, the front end's
frontend/server/src/main/java/org/pytorch/serve/util/codec of TorchServe 0.12.0. Every number is a
big-endian int32, every text or body is preceded by its length, and -1 ends a list.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from http import HTTPStatus

from marsmith.answers.messages import Request, Response
from marsmith.core.errors import WorkerError
from marsmith.torchserve.front_end import parameters_of

Read = Callable[[int], bytes]  # returns exactly so many bytes
# As Netty has them; two have other names in later versions of Python.
_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_PHRASES |= {413: "Request Entity Too Large", 422: "Unprocessable Entity"}
_SIZE = struct.Struct("!i")
_END = _SIZE.pack(-1)
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
    return batch_of(map(encode_request, requests, ids))


def batch_of(encoded: Iterable[bytes]) -> bytes:
    """Ask a worker to answer requests that are encoded already."""
    return b"".join((b"I", *encoded, _END))


def encode_request(
    request: Request,
    request_id: str,
    *,
    path: str = "",
    explain: bool = False,
    told: Mapping[str, str] | None = None,
) -> bytes:
    """Return one request of a batch. `path` is what followed the model in the URL.

    `told` are further headers, which say nothing of how the body is read.
    Raises ClientError for a form that the front end cannot read.
    """
    message = [_sized(request_id.encode())]
    # The front end adds these two to what the client sent (InputParameter, RequestInput).
    headers = {"explain": str(explain), "url_path": path, **request.sent_headers(), **(told or {})}
    for name, value in headers.items():
        message += (_name(name), _sized(value.encode()))
    message.append(_END)
    for parameter in parameters_of(request):
        message += (_name(parameter.name), _name(parameter.content_type))
        message += (_SIZE.pack(len(parameter.value)), parameter.value)
    message.append(_END)
    return b"".join(message)


@dataclass(frozen=True)
class Message:
    """What a worker says: that it has loaded a model, or answers to a batch by request id.

    Of answers in parts, it has a part of each. A `code` other than 200 is of the batch as a whole.
    """

    code: int
    text: str
    answers: dict[str, Response]


def goes_on(part: Response) -> bool:
    """Whether a part of an answer is followed by another one, in another message."""
    return part.headers.get(_GOES_ON) == "true"


class MessageReader:
    """Reads messages from what a connection receives, however it is cut."""

    def __init__(self, after: str = "") -> None:
        """Begin with the answer to the one request `after`, if it is given; skip all before."""
        self._received = bytearray()
        self._after = _sized(after.encode()) if after else b""
        self._message = _message()
        self._needed = next(self._message)

    def feed(self, data: bytes) -> list[Message]:
        """Take what was received; return the messages that are complete now."""
        self._received += data
        if self._after:
            begin = self._received.find(self._after)
            if begin < 0:
                del self._received[: -len(self._after)]
                return []
            self._received[:begin] = _SIZE.pack(200) + _sized(b"")  # how a message begins
            self._after = b""
        found: list[Message] = []
        start, end = 0, len(self._received)
        with memoryview(self._received) as received:
            while (stop := start + self._needed) <= end:
                try:
                    self._needed = self._message.send(bytes(received[start:stop]))
                except StopIteration as done:
                    found.append(done.value)
                    self._message = _message()
                    self._needed = next(self._message)
                start = stop
        del self._received[:start]
        return found


def read_message(read: Read) -> Message:
    """Read one message from a connection that blocks."""
    message = _message()
    needed = next(message)
    while True:
        try:
            needed = message.send(read(needed))
        except StopIteration as done:
            found: Message = done.value
            return found


def read_batch(read: Read, ids: Sequence[str]) -> list[Response]:
    """Read the answers to a batch, one per request, in order.

    Of answers that are sent in parts, status and headers are those of the first part, as they are
    on the wire. Raises WorkerError if they belong to other requests than `ids`.
    """
    parts = answers_of(read_message(read), ids)
    answers = dict(parts)
    while any(map(goes_on, parts.values())):
        parts = answers_of(read_message(read), ids)
        for request_id, part in parts.items():
            so_far = answers[request_id]
            answers[request_id] = replace(so_far, body=so_far.body + part.body)
    return [answers[request_id] for request_id in ids]


def answers_of(message: Message, ids: Collection[str]) -> dict[str, Response]:
    """Return an answer, or a part of it, for each request; the refusal of a batch is one for each.

    Raises WorkerError if they belong to other requests than `ids`.
    """
    if message.answers.keys() != set(ids):
        raise WorkerError(
            "the worker answered other requests than it was sent",
            "let the handler leave context.request_ids unchanged",
            code="worker-protocol",
        )
    if message.code == 200:
        return message.answers
    return dict.fromkeys(ids, refusal(message.code, message.text))


def _message() -> Generator[int, bytes, Message]:
    """Yield how many bytes are needed next, and return what they say."""
    code, text = _number((yield 4)), _text((yield _number((yield 4))))
    answers: dict[str, Response] = {}
    while (length := _number((yield 4))) != -1:
        request_id = _text((yield length))
        content_type = _text((yield _number((yield 4))))
        status, reason = _number((yield 4)), _text((yield _number((yield 4))))
        headers: dict[str, str] = {}
        for _ in range(_number((yield 4))):
            name = _text((yield _number((yield 4)))).lower()
            headers[name] = _text((yield _number((yield 4))))
        if content_type:
            headers["content-type"] = content_type
        answers[request_id] = Response(status, reason, headers, (yield _number((yield 4))))
    return Message(code, text, answers)


def refusal(code: int, message: str) -> Response:
    """Return what the front end makes of a whole batch that failed (NettyUtils.java, sendError)."""
    values = {"code": code, "type": "InternalServerException", "message": message}
    body = json.dumps(values, indent=2).encode() + b"\n"
    return Response(code, _PHRASES.get(code, ""), {"content-type": "application/json"}, body)


def _sized(data: bytes) -> bytes:
    return _SIZE.pack(len(data)) + data


@lru_cache(1024)
def _name(text: str) -> bytes:
    """Return a text that many requests have."""
    return _sized(text.encode())


def _number(data: bytes) -> int:
    value: int = _SIZE.unpack(data)[0]
    return value


def _text(data: bytes) -> str:
    return data.decode(errors="replace")
