"""Take a version into use while another one serves: register, prove, switch, drain; or go back."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from marsmith.archive.manifest import is_version
from marsmith.archive.reader import Archive
from marsmith.check.checking import check
from marsmith.check.targets import Target
from marsmith.core.errors import MarsmithError, ProjectError, RefusedError, RolloutError
from marsmith.core.findings import FindingsError, Severity
from marsmith.core.suggestions import did_you_mean
from marsmith.deploy.canary import Canary, trial
from marsmith.deploy.switch_default import switch
from marsmith.deploy.transaction import Operation, operating
from marsmith.project.project import Project
from marsmith.project.spec import is_name
from marsmith.security.signatures import require_signature
from marsmith.server.lookup import client_of, find_server
from marsmith.server.pinned_archives import discard, place, with_version
from marsmith.server.serve import DEFAULT_TIMEOUT
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

_PACKED = (".mar", ".tgz", ".gz")
_DISABLED = 405  # what TorchServe says where enable_model_api is false


@dataclass(frozen=True)
class Deployment:
    """What is to be deployed, and how."""

    archive: str  # a name in the model store, or the path of a .mar
    version: str | None = None  # instead of the one in its manifest
    port: int | None = None
    public_key: Path | None = None  # whose signature it must carry
    keep: int = 1  # how many versions besides the default one stay, for rollbacks
    workers: tuple[int, int] | None = None  # None: as many as the default version has
    timeout: float = DEFAULT_TIMEOUT  # seconds for the model to load and answer
    canary: Canary | None = None  # how it is tried by the clients' requests first
    checked: bool = True  # whether `check` proves it before the server is touched


def deploy(project: Project, wish: Deployment, tell: Callable[[str], None]) -> Record:
    """Let an archive answer its model's requests, without losing one; return all its versions.

    Raises RolloutError with the step that failed, and then the server is as it was; FindingsError
    for what `check` finds, SigningError for a signature that does not hold.
    """
    source, name = _source(project, wish.archive)
    with operating(project, wish.port, wish.timeout, tell) as operation:
        version = Archive(source).manifest.model_version if wish.version is None else wish.version
        if version is None:
            raise ProjectError(f"{source} has no model version", "name one: --version 1.1")
        _require_possible(operation, name, version)
        _admitted(operation, wish, source, name)
        with operation.backing_out(f"the deployment of {name} {version}"):
            new = _placed(operation, wish, source, name, version)
            old = default_of(operation.record, name)
            _register(operation, new, wish.workers or _bounds(old))
            if wish.canary and old is not None:
                trial(operation, new, old, wish.canary)
            elif wish.canary:
                operation.tell(f"warning: no version of {name} serves yet: there is no trial")
            switch(operation, new, old)
        return _pruned(operation, name, wish.keep)


def rollback(
    project: Project, name: str, port: int | None, timeout: float, tell: Callable[[str], None]
) -> Record:
    """Let the version before answer again, proven anew; return all versions of the model.

    Raises RolloutError as `deploy` does, also if no version is kept.
    """
    with operating(project, port, timeout, tell) as operation:
        old, new = default_of(operation.record, name), previous(operation.record, name)
        if old is None:
            raise _unknown(operation.state, operation.record, name)
        if new is None:
            raise RolloutError(
                f"no earlier version of {name} is kept", "deploy one: marsmith deploy FILE.mar"
            )
        bounds = old.min_workers, old.max_workers
        with operation.backing_out(f"the rollback of {name} to {new.version}"):
            operation.step(f"start the workers of {name} {new.version}")
            had = new.min_workers, new.max_workers
            operation.on_failure(lambda: operation.scale_back(new, had))
            operation.start_workers(new, bounds)
            return of(switch(operation, new, old), name)


def undeploy(
    project: Project,
    name: str,
    version: str,
    port: int | None,
    timeout: float,
    tell: Callable[[str], None],
) -> Record:
    """Forget a version that is not the default one; return the others.

    The last one of a model may go; then nobody answers for it. Raises RolloutError for the default
    version beside others, and for one that is not there.
    """
    with operating(project, port, timeout, tell) as operation:
        found = [one for one in of(operation.record, name) if one.version == version]
        if not found:
            known = ", ".join(one.version for one in of(operation.record, name)) or "none"
            raise RolloutError(
                f"no version {version} of {name} is served", f"its versions: {known}"
            )
        if found[0].default and len(of(operation.record, name)) > 1:
            raise RolloutError(
                f"{name} {version} is the default version: requests are answered by it",
                f"let another one answer first: marsmith rollback {name}, or marsmith deploy",
            )
        _require_model_api(operation)
        operation.step(f"drain {name} {version}")
        return of(_removed(operation, found), name)


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
    return RolloutError(message, did_you_mean(name, known))


def _source(project: Project, text: str) -> tuple[Path, str]:
    """Return the archive's file, and the name of the model that it is a version of."""
    path = Path(text)
    if path.suffix in _PACKED or os.sep in text:
        if path.is_dir():
            raise ProjectError(f"{path} is a folder", "TorchServe takes files: pack it into a .mar")
        return path, Archive(path).manifest.model_name
    built = project.model_store / f"{text}.mar"
    if not built.exists():
        project.specs((text,))  # whoever mistyped a name shall not be told to build it
    return built, Archive(built).name


def _require_possible(operation: Operation, name: str, version: str) -> None:
    if not is_name(name):
        raise ProjectError(
            f"{name!r} is no name for a model: it becomes part of a URL",
            "build it with another one: letters, digits, and - _ . after the first",
        )
    if not is_version(version):
        raise ProjectError(
            f"{version!r} is no version: it becomes part of a URL", "take one such as 1.1"
        )
    _require_model_api(operation)
    if any(one.version == version for one in of(operation.record, name)):
        raise RolloutError(
            f"{name} {version} is served already",
            f"give this one another version: marsmith deploy {name} --version …, or archives.toml",
        )


def _require_model_api(operation: Operation) -> None:
    """Raise RolloutError where nobody may register; a request without a file changes nothing."""
    try:
        operation.client.register("")
    except RefusedError as error:
        if error.status == _DISABLED:
            raise RolloutError(
                f"the server on port {operation.state.port} lets nobody change its versions: it "
                "asks for no token, so its model API is closed",
                "serve with tokens: marsmith serve --secure; or, where everybody on this machine "
                "may, set enable_model_api=true in config.properties",
            ) from error


def _admitted(operation: Operation, wish: Deployment, source: Path, name: str) -> None:
    """Prove an archive before the server is touched."""
    if wish.public_key or operation.state.public_key:
        operation.step(f"verify the signature of {source.name}")
        _signed_by(operation, wish, source, name)
    if wish.checked:
        operation.step(f"check {source.name}")
        result = operation.waiting_for(
            lambda: check(Target(name, source), timeout=operation.timeout)
        )
        if result.errors:
            wrong = [one for one in result.findings if one.severity is Severity.ERROR]
            raise FindingsError(wrong)


def _placed(
    operation: Operation, wish: Deployment, source: Path, name: str, version: str
) -> Version:
    """Put an archive where TorchServe can load it; what is there is what was signed."""
    operation.step(f"copy {source.name} into the model store")
    with tempfile.TemporaryDirectory(dir=operation.project.state_folder("deploy")) as folder:
        if version != Archive(source).manifest.model_version:
            source = with_version(source, version, Path(folder))
        path = place(operation.project, operation.state.port, name, source, operation.require_going)
    kept = {one.file for one in operation.record}
    if path.name not in kept:
        operation.on_failure(lambda: discard(operation.project, [path.name]))
    signed_by = _signed_by(operation, wish, path, name)
    digest = Archive(path).digest
    return Version(name, version, path.name, digest, deployed=True, signed_by=signed_by)


def _signed_by(operation: Operation, wish: Deployment, source: Path, name: str) -> str | None:
    """Return who signed an archive, proven, if that is asked."""
    required = operation.state.public_key
    key = wish.public_key or (Path(required) if required else None)
    if key is None:
        return None
    if wish.version not in (None, Archive(source).manifest.model_version):
        raise RolloutError(
            f"{source.name} is signed as another version than {wish.version}",
            "build it with that version, and sign it",
        )
    if required:
        require_signature(source, name, Path(required))
    return require_signature(source, name, key)


def _bounds(version: Version | None) -> tuple[int, int] | None:
    """Return how many workers a version has; none is no number for another one to have."""
    return (version.min_workers, version.max_workers) if version and version.min_workers else None


def _register(operation: Operation, new: Version, workers: tuple[int, int] | None) -> None:
    operation.step(f"register {new.name} {new.version} beside what serves")
    operation.on_failure(lambda: operation.unregister(new))
    first = workers[0] if workers else None
    operation.client.register(new.file, model_name=new.name, initial_workers=first)
    operation.step(f"load {new.name} {new.version}")
    count = operation.prove(new, workers)
    if not count:
        operation.tell(f"warning: {new.name} has no sample; it is loaded, but not proven")


def _pruned(operation: Operation, name: str, keep: int) -> Record:
    """Unregister the versions that are too many; the ones that were the default last stay."""
    others = [one for one in of(operation.record, name) if not one.default]
    others.sort(key=lambda one: (one.default_since, one.since), reverse=True)
    if others[keep:]:
        try:
            _removed(operation, others[keep:])
        except MarsmithError as error:  # it is served by the new version all the same
            operation.tell(f"warning: {error.message}; {error.hint}")
    return of(operation.record, name)


def _removed(operation: Operation, gone: list[Version]) -> Record:
    for one in gone:
        operation.retire(one)
    operation.write(operation.observe())
    left = {one.file for one in operation.record}
    discard(operation.project, [one.file for one in gone if one.file not in left])
    return operation.record
