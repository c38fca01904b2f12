"""Changes, canaries and slow senders at a gateway: those who ask plainly, and once, never notice.

tests/integration/gateway has quick ones.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import pytest

from tests.faults.archives import project
from tests.faults.conftest import Scale
from tests.faults.load import Tally
from tests.faults.servers import Gateway, gateway, served
from tests.integration.kit import Kit

_SLOW = 200
pytestmark = pytest.mark.faults

Note = Callable[[str, str, Tally], None]


@dataclass(frozen=True)
class Front:
    """A gateway, its back end, and the port at which versions are changed."""

    backend: str
    gateway: Gateway
    port: int

    @property
    def kit(self) -> Kit:
        return self.gateway.kit

    def default(self) -> tuple[str, int]:
        """Return the default version, and its workers."""
        listed = self.kit.json("versions", "digest", "--port", self.port)
        (one,) = [one for one in listed if one["default"]]
        return one["version"], one["min_workers"]


@pytest.fixture(scope="module", params=["local", "torchserve"])
def front(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Front]:
    root = tmp_path_factory.mktemp("changes")
    if request.param == "local":
        with gateway(project(root, "digest"), "local") as running:
            yield Front("local", running, running.port)
    else:
        with (
            served(root, "digest", secure=True) as station,
            gateway(station.kit, "torchserve") as running,
        ):
            yield Front("torchserve", running, station.port)


@pytest.fixture
def report(front: Front, note: Note) -> Callable[[str, Tally], None]:
    """Note the figures, and fail unless all answers were right."""

    def keep(fault: str, tally: Tally) -> None:
        note(f"gateway + {front.backend}", fault, tally)
        assert (tally.wrong, tally.refused, tally.lost) == (0, 0, 0), str(tally)

    return keep


def test_ten_times_over(front: Front, scale: Scale, report: Callable[[str, Tally], None]) -> None:
    kit, port = front.kit, ("--port", front.port)
    with front.gateway.loaded("digest", scale.connections) as tally:
        for turn in range(10 if scale.full else 2):
            kit("deploy", "digest", "--version", f"2.{turn}", *port)
            kit("scale", "digest", "3", *port)
            kit("rollback", "digest", *port)
            kit("scale", "digest", "1", *port)
    report("deploy, scale up, roll back, scale down; ten times", tally)
    assert front.default() == ("1.0", 1)


def test_a_canary(front: Front, scale: Scale, report: Callable[[str, Tally], None]) -> None:
    canary = ("--canary", "30%", "--canary-for", int(scale.seconds))
    with front.gateway.loaded("digest", scale.connections) as tally:
        front.kit("deploy", "digest", "--version", "3.0", *canary, "--port", front.port)
    report("canary with 30 % of the requests, promoted", tally)
    assert front.default() == ("3.0", 1)


def test_slow_senders(front: Front, scale: Scale, report: Callable[[str, Tally], None]) -> None:
    """Each sends a byte of its head now and then: it is told so, and dropped."""
    address = ("127.0.0.1", front.gateway.port)
    with ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(address, 30)) for _ in range(_SLOW)]
        for one in slow:
            one.sendall(b"GET /")
        with front.gateway.loaded("digest", scale.connections) as tally:
            end = time.monotonic() + scale.seconds
            while time.monotonic() < end:
                for one in slow:
                    with suppress(OSError):  # it was dropped
                        one.send(b"a")
                time.sleep(0.1)
        answers = [answer_of(one) for one in slow]
    report(f"{_SLOW} senders of a byte at a time", tally)
    assert {answer[:12] for answer in answers} <= {b"HTTP/1.1 408", b""}, answers[0]


def answer_of(connection: socket.socket) -> bytes:
    """Return what was said before the connection was closed; it must be closed."""
    said = b""
    with suppress(ConnectionResetError):
        while part := connection.recv(1000):
            said += part
    return said
