"""The workers of one version: started, drained, taken away."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass

from marsmith.client import Model
from marsmith.core.errors import MarsmithError, RolloutError
from marsmith.deploy.draining import drain
from marsmith.deploy.session import Session
from marsmith.deploy.transaction import Transaction
from marsmith.server.version_record import Version

FAILED = 500  # TorchServe's answer when workers do not come up
_LONGEST_DRAIN = 300.0  # seconds; a queue may be long, and all of it is answered
_PAUSE = 0.05


@dataclass(frozen=True)
class Scaler:
    """Changes workers of versions without losing a request."""

    session: Session
    transaction: Transaction

    def scale(self, version: Version, bounds: tuple[int, int]) -> Model:
        """Set a version's number of workers, and wait until that is so."""
        session = self.session
        return session.client.scale(version.name, *bounds, session.timeout, version=version.version)

    def scale_back(self, version: Version, bounds: tuple[int, int]) -> None:
        """Undo a scaling, once no request of the version is open, or anyway if that fails."""
        with suppress(MarsmithError):
            self.drained(version)
        self.scale(version, bounds)

    def drained(self, version: Version) -> bool:
        """Wait until no request of a version is open; False if that takes too long."""
        session = self.session
        if session.state.drains_itself:
            return True
        model = session.described(version)
        if not model.ready_workers:
            return True  # no worker holds a request, and none would answer one
        patience = max(_LONGEST_DRAIN, 2.0 * model.response_timeout)
        pid = session.state.front_end[0]
        going = self.transaction.require_going
        return drain(session.server, pid, session.client, model, patience, going)

    def retire(self, version: Version) -> None:
        """Unregister a version, once no request of it is open. A missing one is no error.

        Raises RolloutError if requests are still open after minutes.
        """
        if self.session.serves(version):
            if not self.drained(version):
                raise RolloutError(
                    f"{version.name} {version.version} is still busy",
                    f"later: marsmith undeploy {version.name} {version.version}",
                    code="still-busy",
                )
            self.session.client.unregister(version.name, version.version)

    def unregister(self, version: Version) -> None:
        """Unregister a version that failed, once no request is open, or anyway if that fails."""
        with suppress(MarsmithError):
            self.retire(version)
        if self.session.serves(version):
            self.session.client.unregister(version.name, version.version)

    def await_worker(self, version: Version) -> None:
        """Wait for a worker to answer what is queued: unregistering drops queued requests."""
        end = time.monotonic() + self.session.timeout
        while time.monotonic() < end:
            model = self.session.described(version)
            if model.ready_workers or not model.pending_requests:
                return
            time.sleep(_PAUSE)
