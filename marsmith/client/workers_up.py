"""Whether a model has a worker that is up, looked at while a request waits for its answer.

TorchServe queues what comes for a model whose workers died, are being started, or have been given
up, and answers once one is up, which may be never (ModelManager.addJob, hasNoWorker). So whoever
waits asks the management API meanwhile, and no longer waits for a model that nobody answers for.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from marsmith.answers.messages import Response
from marsmith.client.description import Model, model_of
from marsmith.client.retries import Deadline
from marsmith.core.errors import ClientError

PATIENCE = 0.5  # seconds that a request waits before the first look, and then between looks
LOOK = 0.4  # seconds that a look may take: with PATIENCE, a refusal comes within a second
_FRESH = 0.2  # seconds that what was seen holds, for all who wait for the same model
_RECENT = 5.0  # seconds for which who comes next looks first
_PAUSE = 0.1  # seconds between two looks before a request is sent
_UNAVAILABLE = "Service Unavailable"


class NoWorkerUpError(Exception):
    """No worker of the model is up: the answer that its request gets instead of waiting on."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    @property
    def response(self) -> Response:
        """A refusal in the form of TorchServe's own (ErrorResponse.java)."""
        said = {"code": 503, "type": "ServiceUnavailableException", "message": self.reason}
        headers = {"content-type": "application/json"}
        return Response(503, _UNAVAILABLE, headers, json.dumps(said).encode())


class Watch:
    """What one call looks at while it waits. Without `look` it waits as long as it may."""

    def __init__(
        self,
        look: Callable[[float], str | None] | None = None,
        patience: float = PATIENCE,
        was_down: Callable[[], bool] = lambda: False,
    ) -> None:
        """`look` says within so many seconds why nobody will answer, or None. `patience`: seconds.

        `was_down` says whether the last look, not long ago, found nobody.
        """
        self._look = look
        self._was_down = was_down
        self.patience = math.inf if look is None else patience

    def before_sending(self, left: float) -> None:
        """Wait for a worker where there was none, but no longer than a request would wait.

        Raises NoWorkerUpError. TorchServe keeps in its queue what is sent to it then, answered
        for or not: whoever comes next would find it full. `left` is in seconds.
        """
        if self._look is None or not self._was_down():
            return
        end = time.monotonic() + min(self.patience, left)
        while (reason := self._look(left)) is not None:
            if time.monotonic() >= end:
                raise NoWorkerUpError(reason)
            time.sleep(_PAUSE)

    def look(self, left: float) -> None:
        """Raise NoWorkerUpError if it is in vain to wait on; `left` is in seconds."""
        if self._look is not None and (reason := self._look(left)) is not None:
            raise NoWorkerUpError(reason)


BLIND = Watch()


class WorkersUp:
    """Looks at the workers of models, at most so often for all threads of a client."""

    def __init__(self, describe: Callable[[str, str | None, Deadline], Any]) -> None:
        """`describe` returns the management API's description of a version, as JSON values."""
        self._describe = describe
        # One for each model: who asks for one does not wait for another's look.
        self._looking: defaultdict[tuple[str, str | None], threading.Lock]
        self._looking = defaultdict(threading.Lock)
        self._seen: dict[tuple[str, str | None], tuple[float, str | None]] = {}

    def watch(self, model: str, version: str | None, patience: float | None) -> Watch:
        """Return what a request for a version looks at; None: it waits as long as it may."""
        if patience is None:
            return BLIND
        return Watch(
            lambda left: self.complaint(model, version, left),
            patience,
            lambda: self._was_down(model, version),
        )

    def complaint(self, model: str, version: str | None, left: float = math.inf) -> str | None:
        """Say that a version has no worker that is up; None if it has, or nobody tells in time."""
        until, looking = Deadline(min(LOOK, max(left, 0.0))), self._looking[model, version]
        if not looking.acquire(timeout=max(until.left, 0.0)):
            return None
        try:
            seen, said = self._seen.get((model, version), (-math.inf, None))
            if time.monotonic() - seen > _FRESH:
                said = self._asked(model, version, until)
                self._seen[model, version] = (time.monotonic(), said)
            return said
        finally:
            looking.release()

    def _was_down(self, model: str, version: str | None) -> bool:
        seen, said = self._seen.get((model, version), (-math.inf, None))
        return said is not None and time.monotonic() - seen < _RECENT

    def _asked(self, model: str, version: str | None, until: Deadline) -> str | None:
        try:
            (values,) = self._describe(model, version, until)
            return _complaint(model_of(values, ""))
        # Another server's answer, or a refusal: the request itself will say what is wrong.
        except (ClientError, ValueError, KeyError, TypeError, AttributeError):
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
