"""Messages read ahead are the messages that TorchServe's own reader reads."""

from __future__ import annotations

import importlib
import logging
import random
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from marsmith_handlers.worker_reading import read_ahead

from marsmith.answers.messages import Request
from marsmith.torchserve.worker_protocol import encode_batch


@pytest.fixture
def reader() -> Iterator[Any]:
    """TorchServe's module; put back as it was, for other tests."""
    module = importlib.import_module("ts.protocol.otf_message_handler")
    before = vars(module)["_retrieve_buffer"]
    yield module
    vars(module)["_retrieve_buffer"] = before


def messages() -> list[bytes]:
    chance = random.Random(0)  # noqa: S311
    sizes = [0, 1, 300, 70_000, 3_000_000]
    requests = [
        Request.of(chance.randbytes(size), headers={f"h{i}": "v" * i for i in range(size % 9)})
        for size in sizes
    ]
    return [encode_batch(requests[:n], [f"id-{i}" for i in range(n)]) for n in (1, 5, 3, 2)]


def read_all(reader: Any, data: bytes, pieces: int, count: int) -> list[Any]:
    """Send bytes through a socket, so many at a time, and read `count` messages."""
    ours, theirs = socket.socketpair()
    with ours, theirs:

        def send() -> None:
            for start in range(0, len(data), pieces):
                theirs.sendall(data[start : start + pieces])
            theirs.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        found = [reader.retrieve_msg(ours) for _ in range(count)]
        sender.join()
    return found


@pytest.mark.parametrize("pieces", [997, 65_536, 10_000_000])
def test_the_same_messages_in_pieces_of_any_size(reader: Any, pieces: int) -> None:
    sent = messages()
    expected = read_all(reader, b"".join(sent), pieces, len(sent))
    read_ahead()
    assert read_all(reader, b"".join(sent), pieces, len(sent)) == expected
    assert read_all(reader, sent[0], pieces, 1) == expected[:1]  # another connection


def test_a_front_end_that_goes_ends_the_worker(reader: Any) -> None:
    read_ahead()
    with pytest.raises(SystemExit) as caught:
        read_all(reader, messages()[1][:500], 100, 1)
    assert caught.value.code == 0


def test_the_line_per_batch_is_left_out_and_others_are_not(
    reader: Any, caplog: pytest.LogCaptureFixture
) -> None:
    read_ahead()
    with caplog.at_level(logging.INFO):
        read_all(reader, messages()[0], 1000, 1)
        logging.info("something else")
    assert [record.message for record in caplog.records] == ["something else"]
