"""Load a server, and measure requests per second, latencies, and failures.

Closed loop: each of a number of connections sends its next request once it has its answer. The
latencies hold for as many users who each wait for their answer.

Open loop: a number of requests per second, however slow the server is. Latency counts from the
moment a request was due, not from when a connection was free. Otherwise a server that stops for a
second would only be charged for the few requests in flight, not for all that would have come
(coordinated omission: Gil Tene, "How NOT to Measure Latency", 2013; wrk2's README).
"""

from __future__ import annotations

import selectors
from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter
from urllib.parse import urlsplit

from marsmith.answers.messages import is_success
from marsmith.tune.load_connection import Answer, BrokenConnectionError, Connection
from marsmith.tune.load_result import LoadResult

_PAUSE = 0.01  # seconds between attempts to connect
_LONGEST_WAIT = 0.05  # seconds between checks of `stop`


class Load:
    """Load on one URL. Use it as a context manager, and `run` it once or several times.

    Requests in flight at the end of one run are answered in the next.
    """

    def __init__(
        self,
        url: str,
        requests: Sequence[bytes],
        connections: int,
        *,
        rate: float | None = None,
        check_every: int = 10,
        timeout: float = 60.0,
    ) -> None:
        """Prepare to send `requests` (http_request) in turn.

        `rate`, in requests per second, makes the loop open. One in `check_every` of each request's
        answers is kept. A request without an answer after `timeout` seconds has failed.
        """
        parts = urlsplit(url)
        self._place = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._requests = requests
        self._count = connections
        self._rate = rate
        self._check_every = check_every
        self._timeout = timeout
        self._selector = selectors.DefaultSelector()
        self._idle: deque[Connection] = deque()
        self._busy: set[Connection] = set()
        self._due: deque[float] = deque()
        self._next_due = 0.0
        self._sent = 0
        self._unchecked = [check_every] * len(requests)  # the first answer is checked
        self._reopen_at = 0.0
        self._resting = False
        self._result = LoadResult()

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections, also those with requests in flight."""
        for connection in [*self._idle, *self._busy]:
            connection.close()
        self._selector.close()

    def run(self, seconds: float, stop: Callable[[], bool] = lambda: False) -> LoadResult:
        """Load the server for so many seconds, or until `stop()` is true.

        Requests that fail raise nothing; they are counted.
        """
        result = self._result = LoadResult(open_loop=self._rate is not None)
        now = start = perf_counter()
        self._next_due = self._next_due or start
        while now < start + seconds and not stop():
            self._connect(now)
            self._send(now)
            for key, events in self._selector.select(self._pause(now, start + seconds)):
                self._serve(key.data, events)
            now = perf_counter()
        for connection in [one for one in self._busy if now - one.since > self._timeout]:
            self._fail(connection, f"no answer within {self._timeout:g} s")
        result.seconds = now - start
        result.waiting = [now - since for since in self._due]
        result.waiting += [now - connection.since for connection in self._busy]
        return result

    def rest(self, seconds: float = 10.0, stop: Callable[[], bool] = lambda: False) -> None:
        """Wait for requests in flight without sending others; their answers are not counted.

        Call it before a pause, which would count as latency otherwise.
        """
        self._result = LoadResult()
        self._resting = True
        end = perf_counter() + seconds
        while self._busy and perf_counter() < end and not stop():
            for key, events in self._selector.select(_LONGEST_WAIT):
                self._serve(key.data, events)
        for connection in list(self._busy):
            self._drop(connection)
        self._due.clear()
        self._next_due = 0.0
        self._resting = False

    def _pause(self, now: float, end: float) -> float:
        until = min(end, now + _LONGEST_WAIT)
        if self._rate is not None and self._idle:
            until = min(until, self._next_due)
        return max(0.0, until - now)

    def _connect(self, now: float) -> None:
        """Open missing connections."""
        if len(self._idle) + len(self._busy) == self._count or now < self._reopen_at:
            return
        while len(self._idle) + len(self._busy) < self._count:
            try:
                connection = Connection(*self._place)
            except OSError as error:
                self._result.failures[f"no connection: {error.strerror}"] += 1
                self._reopen_at = now + _PAUSE
                return
            self._selector.register(connection.socket, selectors.EVENT_READ, connection)
            self._idle.append(connection)

    def _send(self, now: float) -> None:
        """Send due requests on idle connections; in the closed loop, one is always due."""
        if self._rate is None:
            while self._idle:
                self._begin(self._idle.popleft(), now)
            return
        while self._next_due <= now:
            self._due.append(self._next_due)
            self._next_due += 1 / self._rate
        while self._idle and self._due:
            self._begin(self._idle.popleft(), self._due.popleft())

    def _begin(self, connection: Connection, since: float) -> None:
        connection.request = self._sent % len(self._requests)
        connection.since = since
        self._sent += 1
        self._busy.add(connection)
        try:
            if not connection.send(self._requests[connection.request]):
                both = selectors.EVENT_READ | selectors.EVENT_WRITE
                self._selector.modify(connection.socket, both, connection)
        except BrokenConnectionError as error:
            self._fail(connection, str(error))

    def _serve(self, connection: Connection, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE and connection.send_more():
                self._selector.modify(connection.socket, selectors.EVENT_READ, connection)
            answer = connection.receive() if events & selectors.EVENT_READ else None
        except BrokenConnectionError as error:
            self._fail(connection, str(error))
            return
        if answer is not None:
            self._take(connection, answer)

    def _take(self, connection: Connection, answer: Answer) -> None:
        now = perf_counter()
        request = connection.request
        if not is_success(answer.status):
            self._result.failures[answer.reason] += 1
        else:
            self._result.latencies.append(now - connection.since)
            self._unchecked[request] += 1
            if self._unchecked[request] >= self._check_every:
                self._unchecked[request] = 0
                self._result.answers.add((request, answer.body))
        if answer.closing:
            self._drop(connection)
            return
        self._busy.discard(connection)
        if self._rate is None and not self._resting:
            self._begin(connection, now)
        else:
            self._idle.append(connection)

    def _fail(self, connection: Connection, reason: str) -> None:
        if connection in self._busy:  # an idle one may be closed by the server at any time
            self._result.failures[reason] += 1
        self._drop(connection)
        self._reopen_at = perf_counter() + _PAUSE

    def _drop(self, connection: Connection) -> None:
        self._busy.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._selector.unregister(connection.socket)
        connection.close()
