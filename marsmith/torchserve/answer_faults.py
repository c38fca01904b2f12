"""What a handler returned that no worker can send: how much of what, where, and what to do; no IO.

A worker refuses it with one of three messages (ts/service.py, ts/protocol/otf_message_handler.py).
A watched worker notes what it was; of other workers, the log says less.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from marsmith.answers.messages import Response


@dataclass(frozen=True)
class Returned:
    """What `handle` returned for a batch. Types have the module's name in front: `torch.Tensor`.

    `place` is where in it the value lies that cannot be sent, such as `[0]['boxes']`.
    """

    requests: int = 0
    type: str = ""
    count: int | None = None  # None for what has no length
    shape: tuple[int, ...] | None = None
    place: str = ""
    value: str = ""  # the type of the value at `place`


@dataclass(frozen=True)
class AnswerFault:
    """Why an answer cannot be sent."""

    rule: str
    message: str
    hint: str


_NOT_A_LIST = "Invalid model predict output"
_COUNT = "number of batch response mismatched"
_NOT_SENT = "Unsupported model output data type."
_COUNT_LINE = re.compile(r"mismatched, expect: (\d+), got: (\d+)")
_TYPE_LINE = re.compile(r"[Ii]nvalid return type: <class '([^']+)'>")
_VALUE_LINE = re.compile(r"TypeError: (?:Object of type (\w+) is not|keys must be .*, not (\w+))")
_TAKEN = "a list with one answer for each request: bytes, text, or JSON values"
_FILE = 'image.save(buffer, "PNG"), then buffer.getvalue()'
_BASE64 = "bytes can only be a whole answer; within JSON write base64.b64encode(…).decode()"
_ITERABLES = (
    *("generator", "map", "filter", "zip", "range", "reversed", "deque"),
    *("set", "frozenset", "dict_keys", "dict_values", "dict_items"),
)
_LISTS = {
    **dict.fromkeys(("Tensor", "ndarray"), "call .tolist() on it"),
    **dict.fromkeys(_ITERABLES, "call list() on it"),
}
# The last part of a type's name → what to do with all that handle() returned.
_WHOLE_CURES = {
    **_LISTS,
    "tuple": "call list() on it",
    "Image": f"send its file: {_FILE}, in a list",
    "NoneType": "end handle() with a return",
    "coroutine": "TorchServe does not await it: write `def handle`, without async",
    **dict.fromkeys(
        ("bytes", "bytearray", "str", "dict", "int", "float", "bool"),
        "put it into a list, one for each request",
    ),
}
# The same → what to do with a value within an answer.
_CURES = {
    **_LISTS,
    "Image": f"send its file: {_FILE}",
    **dict.fromkeys(("bytes", "bytearray"), _BASE64),
    "memoryview": "call bytes() on it",
    **dict.fromkeys(("datetime", "date", "time"), "call .isoformat() on it"),
    "Decimal": "call float() on it",
    "complex": "send its parts: [value.real, value.imag]",
    **dict.fromkeys(("UUID", "Path", "PosixPath"), "call str() on it"),
}
_OTHER = "make a dict of what callers need of it"
_SCALARS = re.compile(r"(numpy\.)?(float|int|uint|bool)(8|16|32|64|_)|numpy\.bool")
_KEY = "dict with a key of type "


def answer_fault(
    answer: Response, log: str, returned: Returned | None = None
) -> AnswerFault | None:
    """Return why the handler's return value could not be sent; None if the answer failed otherwise.

    `log` is what the worker logged for this request.
    """
    values = answer.values if answer.status == 503 else None
    message = values.get("message") if isinstance(values, dict) else None
    if message not in (_NOT_A_LIST, _COUNT, _NOT_SENT):
        return None
    seen = returned or _from_log(log)
    if message == _COUNT:
        return _wrong_count(seen)
    if message == _NOT_A_LIST:
        of = f" of shape {seen.shape}" if seen.shape else ""
        for_them = f" for {_counted(seen.requests, 'request')}" if seen.requests else ""
        what = f"handle() returned {_typed(seen.type)}{of}{for_them}, not a list"
        return AnswerFault("answer-type", what, _hint(seen.type, _WHOLE_CURES))
    where = f" at {seen.place}" if seen.place else ""
    what = f"handle() returned {_typed(seen.value)}{where}, which cannot be sent"
    return AnswerFault("answer-type", what, _hint(seen.value, _CURES))


def _wrong_count(seen: Returned) -> AnswerFault:
    count = "another number of answers" if seen.count is None else _counted(seen.count, "answer")
    requests = _counted(seen.requests, "request") if seen.requests else "a batch"
    hint = f"return {_TAKEN}"
    if seen.requests == 1:
        hint += "; if all of it is one answer, return [answer]"
    return AnswerFault("answer-count", f"handle() returned {count} for {requests}", hint)


def _from_log(log: str) -> Returned:
    seen = Returned()
    for found in _COUNT_LINE.finditer(log):
        seen = replace(seen, requests=int(found[1]), count=int(found[2]))
    for found in _TYPE_LINE.finditer(log):
        seen = replace(seen, type=found[1])
    for found in _VALUE_LINE.finditer(log):
        seen = replace(seen, value=found[1] or f"{_KEY}{found[2]}")
    return seen


def _typed(name: str) -> str:
    if name in ("", "NoneType"):
        return "None" if name else "a value of another type"
    return f"a value of type {name}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _hint(name: str, cures: Mapping[str, str]) -> str:
    """Return what to return instead of a value of this type."""
    of_key = name.startswith(_KEY)
    other = "call str() on the key" if of_key else _OTHER
    last = name.removeprefix(_KEY).rpartition(".")[2]
    scalar = bool(_SCALARS.fullmatch(name.removeprefix(_KEY)))
    cure = "call .item() on it" if scalar else (other if of_key else cures.get(last, other))
    return f"return {_TAKEN}" + (f"; {cure}" if name else "")
