"""Messages of workers, however they are cut."""

from __future__ import annotations

import io

import pytest

from marsmith.answers.messages import Request
from marsmith.programs.light_context import Context
from marsmith.programs.light_messages import answered, failed, loaded, read_batch
from marsmith.torchserve.worker_protocol import (
    Message,
    MessageReader,
    batch_of,
    encode_request,
    read_message,
)
from tests.unit.programs.test_light_messages import context

IDS = {0: "a", 1: "b"}


def said() -> list[bytes]:
    """What a worker says: that it loaded, two answers, and that a batch failed."""
    return [
        loaded(200, "größe"),
        answered([b"x" * 3000, ""], IDS, about(2)),
        failed(IDS, "Prediction failed", 503),
    ]


def about(count: int) -> Context:
    return context(count)


@pytest.mark.parametrize("size", [1, 2, 7, 1000, 1 << 20])
def test_messages_are_the_same_however_they_are_cut(size: int) -> None:
    stream = b"".join(said())
    reader = MessageReader()
    pieces = (stream[start : start + size] for start in range(0, len(stream), size))
    found = [message for piece in pieces for message in reader.feed(piece)]
    assert found == [read_message(io.BytesIO(one).read) for one in said()]
    assert [one.code for one in found] == [200, 200, 503]
    assert found[1].answers["a"].body == b"x" * 3000


def test_nothing_is_found_before_a_message_is_whole() -> None:
    whole = said()[1]
    reader = MessageReader()
    assert reader.feed(whole[:-1]) == []
    assert [one.answers["b"].body for one in reader.feed(whole[-1:])] == [b""]


@pytest.mark.parametrize("size", [1, 5, 1 << 20])
def test_what_comes_before_the_answer_to_a_probe_is_skipped(size: int) -> None:
    stale = b"".join(said())[11:]  # the first bytes were read by another process
    probe = "6f0c52c6-2f9f-4a9b-9df7-3c1f3e1e0a55"
    stream = stale + answered([b"now"], {0: probe}, about(1)) + said()[0]
    reader = MessageReader(after=probe)
    pieces = (stream[start : start + size] for start in range(0, len(stream), size))
    first, then = [message for piece in pieces for message in reader.feed(piece)]
    assert first.answers[probe].body == b"now"
    assert then == Message(200, "größe", {})


def test_a_type_that_is_only_told_does_not_make_a_form() -> None:
    name, value = "Content-Type", "application/x-www-form-urlencoded"
    encoded = encode_request(Request(b"a=1"), "id", told={name: value})
    as_sent = encode_request(Request(b"a=1", value), "id")
    whole = encode_request(Request(b"a=1"), "id")
    parameters = whole[whole.index(b"body") :]
    assert name.encode() in encoded
    assert value.encode() in encoded
    assert encoded.endswith(parameters)
    assert not as_sent.endswith(parameters)


def test_path_and_explain_reach_the_worker() -> None:
    encoded = encode_request(Request(b"1", "text/plain"), "id", path="a/b", explain=True)
    message = io.BytesIO(batch_of([encoded]))
    assert message.read(1) == b"I"
    (request,) = read_batch(message.read)
    assert (request.headers["url_path"], request.headers["explain"]) == ("a/b", "True")
