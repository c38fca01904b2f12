"""Deploy a version while another one serves, roll back, undeploy: no request is lost."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from marsmith.archive.private_copy import PrivateCopy
from marsmith.archive.reader import Archive
from marsmith.building.building import stale_warning
from marsmith.core.errors import MarsmithError, ProjectError, RolloutError
from marsmith.core.suggestions import did_you_mean
from marsmith.deploy.admission import (
    require_model_api,
    require_possible,
    require_sound,
    signer_of,
    source_of,
)
from marsmith.deploy.canary import require_gateway, try_canary
from marsmith.deploy.change import Change, open_change
from marsmith.deploy.compare import require_no_worse
from marsmith.deploy.options import ChangeOptions, DeployOptions
from marsmith.deploy.switch_default import switch
from marsmith.deploy.transaction import Tell
from marsmith.project.project import Project
from marsmith.server.lookup import client_of, find_server
from marsmith.server.pinned_archives import discard, pin, with_version
from marsmith.server.state import ServerState
from marsmith.server.version_record import (
    Record,
    Version,
    default_of,
    observed,
    of,
    previous,
    read_record,
)


def deploy(project: Project, archive: str, options: DeployOptions, tell: Tell) -> Record:
    """Let an archive answer its model's requests, without losing one; return all its versions.

    `archive` is a name in the model store, or the path of a .mar. Raises RolloutError with the
    step that failed, and then the server is as it was; FindingsError for what `check` finds,
    SigningError for an invalid signature.
    """
    source, name = source_of(project, archive, options)
    if stale := stale_warning(project, archive):
        tell(stale)
    with open_change(project, options, tell) as change, _copies(change, source.name) as copy:
        made = copy(source, name)
        version = made.manifest.model_version if options.version is None else options.version
        if version is None:
            raise ProjectError(
                f"{source} has no model version", "name one: --version 1.1", code="no-version"
            )
        require_possible(change, name, version)
        if options.canary:
            require_gateway(change)
        signed_by = signer_of(change, options, made)
        if version != made.manifest.model_version:
            made = _as_version(change, made, version, copy)
        require_sound(change, options, made)
        with change.backing_out(f"the deployment of {name} {version}"):
            new = Version(
                name,
                version,
                made.path.name,
                made.digest,
                deployed=True,
                signed_by=signed_by,
            )
            old = default_of(change.session.record, name)
            _register(change, new, options.workers or _bounds(old) or _one_worker(made))
            if old is not None:
                require_no_worse(change, new, old)
            if options.canary and old is not None:
                try_canary(change, new, old, options.canary)
            elif options.canary:
                change.transaction.warn(
                    f"no canary, because {name} has no version yet to compare with",
                    "try the next version with --canary",
                    rule="no-canary",
                )
            switch(change, new, old)
        return _pruned(change, name, options.keep)


def rollback(project: Project, name: str, options: ChangeOptions, tell: Tell) -> Record:
    """Make the previous version the default again, proven anew; return all versions of the model.

    Raises RolloutError as `deploy` does, also if no previous version is kept.
    """
    with open_change(project, options, tell) as change:
        record = change.session.record
        old, new = default_of(record, name), previous(record, name)
        if old is None:
            raise _unknown(change.session.state, record, name)
        if new is None:
            raise RolloutError(
                f"no earlier version of {name} is kept",
                "deploy one: marsmith deploy FILE.mar",
                code="no-earlier-version",
            )
        had, bounds = (new.min_workers, new.max_workers), (old.min_workers, old.max_workers)
        with change.backing_out(f"the rollback of {name} to {new.version}"):
            change.transaction.step(f"start the workers of {name} {new.version}")
            change.transaction.on_failure(lambda: change.scaler.scale_back(new, had))
            change.prover.start_workers(new, bounds)
            return of(switch(change, new, old), name)


def undeploy(
    project: Project,
    name: str,
    version: str,
    options: ChangeOptions,
    tell: Tell,
) -> Record:
    """Unregister a version that is not the default one; return the others.

    The last version of a model may go; then its requests get 404. Raises RolloutError for the
    default version if there are others, and for one that is not there.
    """
    with open_change(project, options, tell) as change:
        known = of(change.session.record, name)
        found = [one for one in known if one.version == version]
        if not found:
            raise RolloutError(
                f"no version {version} of {name} is served",
                f"its versions: {', '.join(one.version for one in known) or 'none'}",
                code="unknown-version",
            )
        if found[0].default and len(known) > 1:
            raise RolloutError(
                f"{name} {version} is the default version, which answers requests",
                f"change the default first: marsmith rollback {name}, or marsmith deploy",
                code="default-version",
            )
        require_model_api(change)
        change.transaction.step(f"drain {name} {version}")
        return of(_remove(change, found), name)


def versions(project: Project, name: str | None, port: int | None) -> Record:
    """Return the versions of a model, or of all, as they are served now; the oldest first.

    Raises ServerError if no server runs, RolloutError for a model that it does not serve.
    """
    state = find_server(project, port)
    with client_of(state) as client:
        record = observed(read_record(project, state.port), client.models())
    found = of(record, name) if name else record
    if name and not found:
        raise _unknown(state, record, name)
    return tuple(sorted(found, key=lambda one: (one.name, one.since)))


def _unknown(state: ServerState, record: Record, name: str) -> RolloutError:
    known = sorted({one.name for one in record})
    message = f"the server on port {state.port} serves no {name}"
    return RolloutError(message, did_you_mean(name, known), code="unknown-model")


_Copy = Callable[[Path, str], PrivateCopy]


@contextmanager
def _copies(change: Change, label: str) -> Iterator[_Copy]:
    """Yield what copies an archive to where TorchServe loads it; unused copies go at the end."""
    session, made = change.session, list[str]()

    def copy(source: Path, name: str) -> PrivateCopy:
        change.transaction.step(f"copy {label} to where the server loads it")
        going = change.transaction.require_going
        archive = pin(session.project, session.state.port, name, source, going)
        made.append(archive.path.name)
        return archive

    try:
        yield copy
    finally:
        used = {one.file for one in session.record}
        discard(session.project, session.state.port, set(made) - used)


def _as_version(change: Change, archive: PrivateCopy, version: str, copy: _Copy) -> PrivateCopy:
    """Return a copy of an archive that has another version."""
    with tempfile.TemporaryDirectory(dir=_scratch(change)) as folder:
        return copy(with_version(archive, version, Path(folder)), archive.name)


def _scratch(change: Change) -> Path:
    """Return a folder of this server's changes; what a killed one left there is removed."""
    return change.session.project.state_folder(f"deploy/{change.session.state.port}")


def _bounds(version: Version | None) -> tuple[int, int] | None:
    """Return how many workers a version has; None if it has none."""
    return (version.min_workers, version.max_workers) if version and version.min_workers else None


def _one_worker(archive: Archive) -> tuple[int, int] | None:
    """Return one worker for an archive that does not say how many; TorchServe would start none."""
    least, most = (archive.model_config.get(key) for key in ("minWorkers", "maxWorkers"))
    if isinstance(least, int) and least > 0:
        return None
    return 1, max(1, most) if isinstance(most, int) else 1


def _register(change: Change, new: Version, workers: tuple[int, int] | None) -> None:
    change.transaction.step(f"register {new.name} {new.version}")
    change.prover.archive_of(new)
    change.transaction.on_failure(lambda: change.scaler.unregister(new))
    first = workers[0] if workers else None
    change.session.client.register(new.file, model_name=new.name, initial_workers=first)
    change.transaction.step(f"load {new.name} {new.version}")
    count = change.prover.prove(new, workers)
    if not count:
        change.transaction.warn(
            f"{new.name} has no sample, so its answers are not checked",
            f"record one: marsmith sample {new.name} INPUT",
            rule="no-sample",
        )


def _pruned(change: Change, name: str, keep: int) -> Record:
    """Unregister all but the `keep` versions that were the default last."""
    others = [one for one in of(change.session.record, name) if not one.default]
    others.sort(key=lambda one: (one.default_since, one.since), reverse=True)
    if others[keep:]:
        try:
            _remove(change, others[keep:])
        except MarsmithError as error:  # the new version serves anyway
            change.transaction.warn(error.message, error.hint, rule=error.code)
    return of(change.session.record, name)


def _remove(change: Change, gone: list[Version]) -> Record:
    for one in gone:
        change.scaler.retire(one)
    change.session.write(change.session.observe())
    left = {one.file for one in change.session.record}
    unused = [one.file for one in gone if one.file not in left]
    discard(change.session.project, change.session.state.port, unused)
    return change.session.record
