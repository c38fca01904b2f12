"""Callers that behave badly beside others that do not, each a context in which they do.

What they got themselves is in the list that a context gives, complete once it is left.
"""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import pytest

from marsmith.client import ONCE
from marsmith.core.errors import ClientError
from tests.faults.servers import Server
from tests.integration.kit import wait_for

IDLE = 10_000
SLOW = 200
MESSAGE = b"s" * 200  # what slow senders say
TOO_LARGE = 33 << 20  # bytes; config.properties allows 32 MiB
QUEUE = 4  # requests that wait: jobQueueSize of `queueing` in archives.py

Outcomes = list[bytes]
BadCallers = Callable[[Server], AbstractContextManager[Outcomes]]


@contextmanager
def many_files(wanted: int) -> Iterator[None]:
    """Let this process, and the server that it starts, have so many files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"this account may open {hard} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def idle(server: Server) -> Iterator[Outcomes]:
    """Connect, and say nothing; the last one asks in the end."""
    outcomes: Outcomes = []
    with ExitStack() as stack:
        connections = [stack.enter_context(_connect(server)) for _ in range(IDLE)]
        yield outcomes
        connections[-1].sendall(_head(4) + b"idle")
        outcomes.append(_answer(connections[-1]))


@contextmanager
def slow(server: Server) -> Iterator[Outcomes]:
    """Send a byte now and then, of head or body; the rest in the end."""
    outcomes: Outcomes = []
    message = _head(len(MESSAGE)) + MESSAGE
    with ExitStack() as stack:
        connections = [stack.enter_context(_connect(server)) for _ in range(SLOW)]
        sent = 0

        def drip() -> None:
            nonlocal sent
            if sent < len(message) // 2:
                for one in connections:
                    one.sendall(message[sent : sent + 1])
                sent += 1
            time.sleep(0.02)

        with _again_and_again(drip):
            yield outcomes
        for one in connections:
            one.sendall(message[sent:])
        outcomes += [_answer(one) for one in connections]


@contextmanager
def too_large(server: Server) -> Iterator[Outcomes]:
    """Send bodies over the limit; the outcomes are their statuses."""
    outcomes: Outcomes = []
    with server.client(ONCE) as client:

        def send() -> None:
            try:
                outcomes.append(b"%d" % client.predict("digest", bytes(TOO_LARGE)).status)
            except ClientError as error:
                outcomes.append(error.message.encode())

        with _again_and_again(send):
            yield outcomes


@contextmanager
def cut_off(server: Server) -> Iterator[Outcomes]:
    """Send half of a body, and hang up; nobody is answered."""
    outcomes: Outcomes = []

    def send() -> None:
        with _connect(server) as one:
            one.sendall(_head(100_000) + b"half of it" * 5_000)
        outcomes.append(b"")
        time.sleep(0.01)

    with _again_and_again(send):
        yield outcomes


@contextmanager
def filling(server: Server) -> Iterator[Outcomes]:
    """Fill the queue of `queueing`, whose one worker is busy all the time.

    Outcomes: right answers as they are, refusals as their status.
    """
    outcomes: Outcomes = []
    blocked = server.kit.root / "blocked"
    blocked.touch()
    with server.client(ONCE) as client:

        def ask() -> None:
            answer = client.predict("queueing", b"waits")
            outcomes.append(answer.body if answer.ok else b"%d" % answer.status)

        waiting = [threading.Thread(target=ask) for _ in range(40)]
        for one in waiting:
            one.start()
        wait_for(lambda: bool(outcomes), "the queue to be full")
        wait_for(lambda: client.describe("queueing")[0].pending_requests >= QUEUE, "the queue")
        try:
            yield outcomes
        finally:
            blocked.unlink()
            for one in waiting:
                one.join()


# The fault → the model under load beside it, and who misbehaves.
BAD_CALLERS: dict[str, tuple[str, BadCallers]] = {
    "10,000 idle connections": ("digest", idle),
    "200 senders of a byte at a time": ("digest", slow),
    "bodies over the limit": ("digest", too_large),
    "bodies cut off half-way": ("digest", cut_off),
    "a queue filled to its end": ("queueing", filling),
}


@contextmanager
def _again_and_again(work: Callable[[], None]) -> Iterator[None]:
    over = threading.Event()

    def loop() -> None:
        while not over.is_set():
            work()

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def _head(length: int) -> bytes:
    """Return the beginning of a request with a body of that length."""
    line = "POST /predictions/digest HTTP/1.1"
    return f"{line}\r\nhost: me\r\ncontent-length: {length}\r\n\r\n".encode()


def _answer(connection: socket.socket) -> bytes:
    """Return the body of an answer, or its status if that is not 200."""
    with connection.makefile("rb") as stream:
        status = stream.readline().split()[1]
        length = 0
        for line in iter(stream.readline, b"\r\n"):
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        body = stream.read(length)
        return body if status == b"200" else status
