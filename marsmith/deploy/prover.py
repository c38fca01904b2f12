"""Proof that a version of a running server answers its samples, on every worker."""

from __future__ import annotations

import time
from dataclasses import dataclass

from marsmith.archive.private_copy import PrivateCopy
from marsmith.core.errors import RefusedError
from marsmith.core.findings import Finding
from marsmith.deploy.replay import replay
from marsmith.deploy.scaler import FAILED, Scaler
from marsmith.deploy.session import Session
from marsmith.deploy.transaction import Transaction
from marsmith.project.entries import source_names
from marsmith.server.pinned_archives import pinned
from marsmith.server.readiness import Start
from marsmith.server.version_record import Version


@dataclass(frozen=True)
class Prover:
    """Waits for workers and replays samples."""

    session: Session
    transaction: Transaction
    scaler: Scaler

    def prove(self, version: Version, workers: tuple[int, int] | None = None) -> int:
        """Wait for a version's workers, give it as many as wanted, and replay its samples.

        Returns the number of requests that got their expected answer. Raises ArchiveError if its
        bytes are not the recorded ones any more.
        """
        archive = self.archive_of(version)
        self._await_ready(archive)
        self.transaction.require_going()
        model = self.session.described(version)
        if workers and workers != (model.min_workers, model.max_workers):
            name = f"{version.name} {version.version}"
            self.transaction.step(f"scale {name} to {workers[0]}:{workers[1]}")
            self.transaction.waiting_for(lambda: self.scaler.scale(version, workers))
            model = self.session.described(version)
        self.transaction.step(f"replay the samples against {version.name} {version.version}")
        count = model.min_workers
        client = self.session.client
        return self.transaction.waiting_for(lambda: replay(client, archive, version.version, count))

    def start_workers(self, version: Version, bounds: tuple[int, int]) -> int:
        """Give a version without workers its workers, and prove it; returns as `prove` does."""
        try:
            self.transaction.waiting_for(lambda: self.scaler.scale(version, bounds))
        except RefusedError as error:
            if error.status != FAILED:
                raise
            # They do not load: `prove` finds the cause in the logs.
        return self.prove(version)

    def archive_of(self, version: Version) -> PrivateCopy:
        """Return the archive of a version. Raises ArchiveError if its bytes are others now."""
        return pinned(self.session.project, self.session.state.port, version)

    def _await_ready(self, archive: PrivateCopy) -> None:
        self._start(archive).wait()

    def failure(self, version: Version) -> Finding | None:
        """Return what the version's worker raised last, with its place in the project."""
        archive = self.archive_of(version)
        return self._start(archive).failure(archive)

    def _start(self, archive: PrivateCopy) -> Start:
        session = self.session
        deadline = time.monotonic() + session.timeout
        sources = source_names(session.project)
        stop = self.transaction.stop
        words = "ended by itself"
        return Start(session.server, session.client, [archive], deadline, stop, sources, words)
