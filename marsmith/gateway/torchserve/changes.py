"""What happened between two looks at the models; no IO."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from marsmith.client.description import Model
from marsmith.gateway.backend import Event


def changes(before: Sequence[Model], after: Sequence[Model]) -> Iterator[Event]:
    """Yield what differs."""
    known = {(one.name, one.version): one for one in before}
    for model in after:
        name, version = model.name, model.version
        was = known.pop((name, version), None)
        if was is None:
            yield Event("registered", name, version)
            continue
        if model.default and not was.default:
            yield Event("default", name, version)
        bounds = model.min_workers, model.max_workers
        if bounds != (was.min_workers, was.max_workers):
            yield Event("scaled", name, version, "{} to {}".format(*bounds))
        up, were_up = _pids(model), _pids(was)
        for pid in sorted(were_up - up) if model.max_workers >= was.max_workers else ():
            yield Event("worker-died", name, version, f"pid {pid}")
        for pid in sorted(up - were_up):
            yield Event("worker-up", name, version, f"pid {pid}")
    for name, version in known:
        yield Event("unregistered", name, version)


def _pids(model: Model) -> set[int]:
    return {one.pid for one in model.workers if one.state == "READY"}
