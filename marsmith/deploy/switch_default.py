"""Let another version be the one that answers, and take the workers of the one before."""

from __future__ import annotations

import time
from dataclasses import replace

from marsmith.core.errors import RolloutError
from marsmith.deploy.transaction import Operation
from marsmith.server.version_record import Record, Version, observed


def switch(operation: Operation, new: Version, old: Version | None) -> Record:
    """Let `new` answer from now on, and `old` nobody any more; both stay registered.

    Until `old` gives its workers up, whatever goes wrong brings it back.
    """
    record = tuple(
        replace(
            one,
            deployed=one.deployed or one.name == new.name,
            default=one.version == new.version if one.name == new.name else one.default,
            default_since=time.time()
            if (one.name, one.version) == (new.name, new.version)
            else one.default_since,
        )
        for one in observed((*operation.record, new), operation.client.models())
    )
    if old is not None:
        operation.step(f"make {new.name} {new.version} the default version")
        _require_workers(operation, new)
        before = operation.record
        operation.on_failure(lambda: operation.await_worker(new))
        operation.on_failure(lambda: operation.client.set_default(old.name, old.version))
        operation.on_failure(lambda: operation.write(before))
        # Recorded first: who starts the server again between the two shall serve the new one.
        operation.write(record)
        operation.client.set_default(new.name, new.version)
        operation.step(f"drain {old.name} {old.version}")
        if operation.drained(old):
            _require_workers(operation, new)
            operation.done()
            operation.now = f"take the workers of {old.name} {old.version}"
            operation.scale(old, (0, 0))
        else:
            operation.tell(f"warning: {old.name} {old.version} is still busy and keeps its workers")
    operation.done()
    operation.write(observed(record, operation.client.models()))
    return operation.record


def _require_workers(operation: Operation, version: Version) -> None:
    """Raise RolloutError if nobody is there any more to answer what a version gets."""
    if not operation.described(version.name, version.version).ready_workers:
        raise RolloutError(
            f"no worker of {version.name} {version.version} is up any more",
            f"its workers say why: marsmith logs {version.name}",
        )
