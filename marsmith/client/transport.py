"""Connections of blocking calls: every read and write ends at the deadline of its call."""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from dataclasses import dataclass

from marsmith.answers.messages import Response
from marsmith.client.http1 import LostError, NotConnectedError, Place, ResponseReader
from marsmith.client.retries import Deadline
from marsmith.client.workers_up import WorkerCheck

_PIECE = 16_384  # bytes written under one timeout
_READ = 65_536
# Idle connections are dropped early, since a server that closes them could do so under a request.
_IDLE = 5.0  # seconds
_MOST_IDLE = 64


@dataclass(frozen=True)
class Wait:
    """Seconds for one read or write of a call, which also end at the deadline of the call.

    While no answer comes, `check` is looked at; what it raises ends the waiting.
    """

    seconds: float
    deadline: Deadline
    check: WorkerCheck | None = None

    @property
    def left(self) -> float | None:
        """Seconds for the read or write that begins now."""
        return self.deadline.bounded(self.seconds)


class Transport:
    """Sends requests, from as many threads as there are; callers bound the connections."""

    def __init__(self, trust: ssl.SSLContext) -> None:
        self._trust = trust
        self._idle: list[_Connection] = []
        self._lock = threading.Lock()
        self.is_closed = False

    def send(self, place: Place, request: bytes, wait: Wait) -> Response:
        """Send a request, and return its answer.

        Raises TimeoutError, NotConnectedError, LostError, NotHttpError, what the check raises, and
        ssl.SSLCertVerificationError.
        """
        connection = self._idle_one(place) or _Connection(place, self._trust, wait)
        try:
            response = connection.ask(request, wait)
        except BaseException:
            connection.close()
            raise
        self._keep(connection)
        return response

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            self.is_closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _idle_one(self, place: Place) -> _Connection | None:
        with self._lock:
            old = [one for one in self._idle if one.stale]
            self._idle = [one for one in self._idle if one not in old]
            chosen = next((one for one in reversed(self._idle) if one.place == place), None)
            if chosen is not None:
                self._idle.remove(chosen)
        for connection in old:
            connection.close()
        return chosen

    def _keep(self, connection: _Connection) -> None:
        with self._lock:
            if connection.reusable and not self.is_closed and len(self._idle) < _MOST_IDLE:
                connection.since = time.monotonic()
                self._idle.append(connection)
                return
        connection.close()


class _Connection:
    """One connection, for one request at a time."""

    def __init__(self, place: Place, trust: ssl.SSLContext, wait: Wait) -> None:
        self.place = place
        self.since = 0.0  # when it became idle
        self.reusable = False
        try:
            plain = socket.create_connection((place.host, place.port), wait.left)
        except TimeoutError:
            raise
        except OSError as error:
            raise NotConnectedError(error.strerror or str(error)) from error
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = _encrypted(plain, place, trust, wait) if place.tls else plain

    @property
    def stale(self) -> bool:
        """Whether it was idle for long, or the server closed it."""
        if time.monotonic() - self.since > _IDLE:
            return True
        look = select.poll()  # not select(), which knows no descriptor above 1023
        look.register(self._socket, select.POLLIN)
        return bool(look.poll(0))

    def ask(self, request: bytes, wait: Wait) -> Response:
        """Send a request, and return its answer."""
        try:
            unsent = self._send(request, wait)
            reader = ResponseReader()
            while not reader.complete:
                data = self._receive(wait)
                reader.feed(data) if data else reader.end()
        except (TimeoutError, ssl.SSLCertVerificationError):
            raise
        except OSError as error:
            raise LostError(error.strerror or str(error)) from error
        self.reusable = reader.reusable and not unsent
        return reader.response

    def close(self) -> None:
        """Close it, also with a request under way."""
        self._socket.close()

    def _send(self, request: bytes, wait: Wait) -> bool:
        """Return whether the server took only a part; its answer says why."""
        pieces = memoryview(request)
        for start in range(0, len(pieces), _PIECE):
            self._socket.settimeout(wait.left)
            try:
                self._socket.sendall(pieces[start : start + _PIECE])
            except (BrokenPipeError, ConnectionResetError):
                return True
        return False

    def _receive(self, wait: Wait) -> bytes:
        read, check = Deadline(wait.left), wait.check
        while check is not None and check.pause < read.left:
            self._socket.settimeout(check.pause)
            try:
                return self._socket.recv(_READ)
            except TimeoutError:
                check.look()
        self._socket.settimeout(read.bounded(None))
        return self._socket.recv(_READ)


def _encrypted(
    plain: socket.socket, place: Place, trust: ssl.SSLContext, wait: Wait
) -> ssl.SSLSocket:
    try:
        plain.settimeout(wait.left)
        return trust.wrap_socket(plain, server_hostname=place.host)
    except (TimeoutError, ssl.SSLCertVerificationError):
        plain.close()
        raise
    except OSError as error:
        plain.close()
        raise NotConnectedError(error.strerror or str(error)) from error
