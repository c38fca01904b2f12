"""Whether a model has a worker that is up, checked while a request waits for its answer.

TorchServe queues requests for a model if its workers died, start or were given up, and
answers once one is up, which may be never (ModelManager.addJob, hasNoWorker). So a request that
waits has the management API asked in the background, and gives up if no worker is up.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass
from typing import Any

from marsmith.answers.messages import Response
from marsmith.client.description import Model, model_of
from marsmith.client.retries import Deadline
from marsmith.core.errors import ClientError

PATIENCE = 0.5  # seconds that a request waits before the first check, and between checks
CHECK = 0.4  # seconds that a check may take: with PATIENCE, a refusal comes within a second
_FRESH = 0.2  # seconds that a result holds, for all requests to the same model
_RECENT = 5.0  # seconds for which the next request checks before it is sent
_PAUSE = 0.05  # seconds between two looks at a check that is under way
_UNAVAILABLE = "Service Unavailable"

_Key = tuple[str, str | None]  # a model and its version; None: the default one


@dataclass(frozen=True)
class Down:
    """No worker of a version is up. `at` is of time.monotonic(), before the server was asked."""

    reason: str
    starting: bool  # whether it has workers, which TorchServe starts again
    at: float


class NoWorkerUpError(Exception):
    """No worker of the model is up: the answer that its request gets instead of waiting on."""

    def __init__(self, down: Down) -> None:
        super().__init__(down.reason)
        self.down = down

    @property
    def response(self) -> Response:
        """A refusal in the form of TorchServe's own (ErrorResponse.java)."""
        said = {"code": 503, "type": "ServiceUnavailableException", "message": self.down.reason}
        headers = {"content-type": "application/json"}
        return Response(503, _UNAVAILABLE, headers, json.dumps(said).encode())


class WorkersUp:
    """Checks the workers of models in the background, for all requests of a client."""

    def __init__(self, describe: Callable[[str, str | None, Deadline], Any]) -> None:
        """`describe` returns the management API's description of a version, as JSON values."""
        self._describe = describe
        self._lock = threading.Lock()
        self._checks: dict[_Key, Future[Down | None]] = {}
        self._ended: dict[_Key, tuple[float, Down | None]] = {}  # when, and what was found

    def for_request(
        self, model: str, version: str | None, patience: float | None
    ) -> WorkerCheck | None:
        """Return what a request checks while it waits; without patience nothing is checked."""
        return None if patience is None else WorkerCheck(self, (model, version), patience)

    def check(self, key: _Key) -> Future[Down | None]:
        """Return a check: why a version cannot answer, or None if it can or that is unknown.

        It is the check that is under way, the last one if it is fresh, or a new one.
        """
        with self._lock:
            check = self._checks.get(key)
            if check is None or (check.done() and self._age(key) > _FRESH):
                check = self._checks[key] = Future()
                threading.Thread(target=self._run, args=(key, check), daemon=True).start()
            return check

    def was_down(self, key: _Key) -> bool:
        """Whether the last check, not long ago, found no worker."""
        return self._age(key) < _RECENT and self._ended[key][1] is not None

    def _age(self, key: _Key) -> float:
        ended, _ = self._ended.get(key, (-math.inf, None))
        return time.monotonic() - ended

    def _run(self, key: _Key, check: Future[Down | None]) -> None:
        down, begun = None, time.monotonic()
        try:
            (values,) = self._describe(*key, Deadline(CHECK))
            model = model_of(values, "")
            if (reason := _complaint(model)) is not None:
                down = Down(reason, bool(model.workers), begun)
        # Another server's answer, or a refusal: the request itself will say what is wrong.
        except (ClientError, ValueError, KeyError, TypeError, AttributeError):
            pass
        finally:
            self._ended[key] = time.monotonic(), down
            check.set_result(down)


class WorkerCheck:
    """What one request checks while it waits for its answer."""

    def __init__(self, workers: WorkersUp, key: _Key, patience: float) -> None:
        """`patience` is in seconds."""
        self._workers = workers
        self._key = key
        self._patience = patience
        self._check: Future[Down | None] | None = None

    @property
    def pause(self) -> float:
        """Seconds to wait for the answer until `look` is called."""
        return self._patience if self._check is None else _PAUSE

    def before_sending(self, left: float) -> None:
        """Wait for a worker if there was none, but no longer than a request would wait.

        Raises NoWorkerUpError. TorchServe would keep the request in its queue, answered or not,
        until the queue is full. `left` is in seconds.
        """
        if not self._workers.was_down(self._key):
            return
        end = time.monotonic() + min(self._patience, left)
        while (down := self._found(min(CHECK, left))) is not None:
            if time.monotonic() >= end:
                raise NoWorkerUpError(down)
            time.sleep(_PAUSE)

    def begin(self) -> None:
        """Begin to wait, with the first try or with another one."""
        self._check = None

    def look(self) -> None:
        """Begin a check, or look at the one that is under way: it never waits.

        Raises NoWorkerUpError if no worker is up.
        """
        if self._check is None:
            self._check = self._workers.check(self._key)
        if self._check.done():
            down, self._check = self._check.result(), None
            if down is not None:
                raise NoWorkerUpError(down)

    def _found(self, seconds: float) -> Down | None:
        try:
            return self._workers.check(self._key).result(max(seconds, 0.0))
        except NotYet:
            return None


def _complaint(model: Model) -> str | None:
    if model.ready_workers:
        return None
    if not model.workers:
        return f"{model.name} {model.version} has no worker: scale it up"
    states = ", ".join(sorted({worker.state for worker in model.workers}))
    number = len(model.workers)
    which = "its only worker is" if number == 1 else f"none of its {number} workers is"
    words = "not up" if number == 1 else "up"
    return f"{model.name} {model.version} cannot answer: {which} {words} ({states})"
