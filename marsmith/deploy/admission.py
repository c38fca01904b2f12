"""Checks before an archive is deployed; the server is not changed here."""

from __future__ import annotations

from pathlib import Path

from marsmith.archive.manifest import is_version
from marsmith.archive.reader import Archive
from marsmith.check.checking import check
from marsmith.check.targets import Target
from marsmith.core.errors import ProjectError, RefusedError, RolloutError
from marsmith.core.findings import FindingsError, Severity
from marsmith.deploy.change import Change
from marsmith.deploy.options import DeployOptions
from marsmith.project.accepted_code import accepted_by, refuse_code
from marsmith.project.project import Project
from marsmith.security.signatures import require_signature
from marsmith.server.options import is_file
from marsmith.server.version_record import of

_DISABLED = 405  # TorchServe's answer where enable_model_api is false


def source_of(project: Project, text: str, options: DeployOptions) -> tuple[Path, str]:
    """Return the archive's file, and the name of the model that it is a version of."""
    path = Path(text)
    if is_file(text):
        if path.is_dir():
            raise ProjectError(
                f"{path} is a folder", "name a .mar: TorchServe takes files", code="folder"
            )
        return path, Archive(path).manifest.model_name
    built = project.model_store / f"{text}.mar"
    if not built.exists():
        project.specs((text,))  # report a misspelt name before suggesting a build
    archive = Archive(built)
    if options.version is None:
        _require_built(project, archive)
    return built, archive.name


def _require_built(project: Project, archive: Archive) -> None:
    """Raise RolloutError if archives.toml has another version of an archive than was built."""
    spec = project.archives.get(archive.name)
    built = archive.manifest.model_version
    if spec is not None and spec.version != built:
        raise RolloutError(
            f"archives.toml has {spec.name} {spec.version}, but {archive.path.name} is {built}",
            f"build it first: marsmith build {spec.name}",
            code="not-built",
        )


def require_possible(change: Change, name: str, version: str) -> None:
    """Raise MarsmithError if the server cannot take such a version."""
    if not is_version(version):
        raise ProjectError(
            f"{version!r} cannot be a version: it becomes part of a URL",
            "use one such as 1.1",
            code="bad-version",
        )
    require_model_api(change)
    if any(one.version == version for one in of(change.session.record, name)):
        raise RolloutError(
            f"{name} {version} is already served",
            f"raise the version in archives.toml and build it: marsmith build {name}; "
            "or deploy a copy with another version: --version V",
            code="version-served",
        )


def require_model_api(change: Change) -> None:
    """Raise RolloutError if the model API is closed; registering no file changes nothing."""
    try:
        change.session.client.register("")
    except RefusedError as error:
        if error.status == _DISABLED:
            raise RolloutError(
                f"the model API of the server on port {change.session.state.port} is closed, "
                "because it needs no token",
                "start the server with --secure; or, if every user of this machine may "
                "change models, set enable_model_api=true in config.properties",
                code="model-api-closed",
            ) from error


def require_sound(change: Change, options: DeployOptions, archive: Archive) -> None:
    """Prove an archive before the server is touched. Raises FindingsError."""
    accepted = accepted_by(change.session.project)
    refuse_code(archive, accepted)
    if not options.checked:
        return
    change.transaction.step(f"check {archive.shown.name}")
    target, timeout = Target(archive.name, archive=archive), change.session.timeout
    result = change.transaction.waiting_for(lambda: check(target, timeout=timeout, accept=accepted))
    if result.errors:
        wrong = [one for one in result.findings if one.severity is Severity.ERROR]
        raise FindingsError(wrong)


def signer_of(change: Change, options: DeployOptions, archive: Archive) -> str | None:
    """Return the verified fingerprint of an archive's signer, if a signature is required."""
    required = change.session.state.public_key
    key = options.public_key or (Path(required) if required else None)
    if key is None:
        return None
    change.transaction.step(f"verify the signature of {archive.shown.name}")
    if options.version not in (None, archive.manifest.model_version):
        raise RolloutError(
            f"{archive.shown.name} is signed, but not as version {options.version}",
            "build it with that version, and sign it",
            code="signed-version",
        )
    if required:
        require_signature(archive, Path(required))
    return require_signature(archive, key)
