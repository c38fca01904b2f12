"""Undo a change whose process was killed: serve again what its journal says."""

from __future__ import annotations

from marsmith.core.errors import MarsmithError, RolloutError
from marsmith.deploy.scaler import Scaler
from marsmith.deploy.session import Session
from marsmith.server.pinned_archives import discard
from marsmith.server.version_record import Record, Version, default_of, observed


def restore(session: Session, scaler: Scaler, before: Record) -> None:
    """Serve what was served before. Raises RolloutError if that cannot be done."""
    try:
        _restore_defaults(session, before)
        gone = _unregister_others(session, scaler, before)
        _restore_workers(session, scaler, before)
        session.write(observed(before, session.client.models()))
    except MarsmithError as error:
        raise RolloutError(
            f"a change that was killed cannot be undone: {error.message}",
            "stop the server (marsmith stop), and start it again: it serves what it served before",
            code="not-restored",
        ) from error
    kept = {one.file for one in session.record}
    discard(session.project, session.state.port, [one.file for one in gone if one.file not in kept])


def _restore_defaults(session: Session, before: Record) -> None:
    now = session.observe()
    for name in {one.name for one in before}:
        was, current = default_of(before, name), default_of(now, name)
        if was and current and was.version != current.version and session.serves(was):
            session.client.set_default(name, was.version)


def _unregister_others(session: Session, scaler: Scaler, before: Record) -> list[Version]:
    known = {(one.name, one.version) for one in before}
    others = [one for one in session.observe() if (one.name, one.version) not in known]
    for one in others:
        scaler.unregister(one)
    return others


def _restore_workers(session: Session, scaler: Scaler, before: Record) -> None:
    now = {(one.name, one.version): one for one in session.observe()}
    for was in before:
        current = now.get((was.name, was.version))
        bounds = was.min_workers, was.max_workers
        if current and bounds != (current.min_workers, current.max_workers):
            scaler.scale_back(was, bounds)
