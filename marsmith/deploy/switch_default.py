"""Make another version the default one, and take the workers of the previous one."""

from __future__ import annotations

import time
from dataclasses import replace

from marsmith.core.errors import RolloutError
from marsmith.deploy.change import Change
from marsmith.server.version_record import Record, Version, observed


def switch(change: Change, new: Version, old: Version | None) -> Record:
    """Let `new` answer instead of `old`; both stay registered.

    Until `old` gives up its workers, any failure makes it the default again.
    """
    session, transaction = change.session, change.transaction
    record = _with_default(observed((*session.record, new), session.client.models()), new)
    if old is not None:
        transaction.step(f"make {new.name} {new.version} the default version")
        _require_workers(change, new)
        before = session.record
        transaction.on_failure(lambda: change.scaler.await_worker(new))
        transaction.on_failure(lambda: session.client.set_default(old.name, old.version))
        transaction.on_failure(lambda: session.write(before))
        # Recorded first: a server that is started again between the two serves the new one.
        session.write(record)
        session.client.set_default(new.name, new.version)
        _drain(change, new, old)
    transaction.commit()
    session.write(observed(record, session.client.models()))
    return session.record


def _with_default(record: Record, new: Version) -> Record:
    now = time.time()
    return tuple(
        one
        if one.name != new.name
        else replace(one, deployed=True, default=True, default_since=now)
        if one.version == new.version
        else replace(one, deployed=True, default=False)
        for one in record
    )


def _drain(change: Change, new: Version, old: Version) -> None:
    transaction = change.transaction
    transaction.step(f"drain {old.name} {old.version}")
    if change.scaler.drained(old):
        _require_workers(change, new)
        transaction.commit()
        transaction.now = f"take the workers of {old.name} {old.version}"
        change.scaler.scale(old, (0, 0))
    else:
        transaction.warn(
            f"{old.name} {old.version} still has open requests, so it keeps its workers",
            f"later: marsmith undeploy {old.name} {old.version}",
            rule="still-busy",
        )


def _require_workers(change: Change, version: Version) -> None:
    """Raise RolloutError unless a worker of the version is up."""
    if not change.session.described(version).ready_workers:
        raise RolloutError(
            f"no worker of {version.name} {version.version} is up any more",
            f"its log says why: marsmith logs {version.name}",
            code="no-worker-up",
        )
