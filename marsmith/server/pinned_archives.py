"""Private copies of what a server loads: nobody else can change them, and their digest is compared.

TorchServe loads files from the top of one folder only (ModelArchive.java). Each server gets one of
its own, `.marsmith/servers/PORT/archives`. A copy is made before anything of an archive is looked
at, and exactly that copy is verified, checked, recorded and loaded.
"""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from marsmith.archive.manifest import MANIFEST_FILE
from marsmith.archive.private_copy import PrivateCopy, copy_file
from marsmith.archive.reader import Archive
from marsmith.archive.stored_zip import Content, write_stored_zip
from marsmith.core.atomic_write import replacing
from marsmith.core.errors import ArchiveError, ProjectError, ServerError
from marsmith.core.file_lock import locked_within
from marsmith.project.project import Project
from marsmith.project.spec import is_name
from marsmith.security.signatures import signature_file
from marsmith.server.change_journal import unfinished_change
from marsmith.server.options import is_file
from marsmith.server.state import SERVING_LOCK, recorded_server, server_folder
from marsmith.server.version_record import (
    Record,
    Version,
    deployed,
    read_record,
    recording_within,
    write_record,
)

_DIGITS = 12  # of the sha256, in a file's name


def store_of(project: Project, port: int) -> Path:
    """Return the folder from which the server on `port` loads its archives; only we may enter it.

    Raises ProjectError.
    """
    folder = server_folder(project, port) / "archives"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise ProjectError(
            f"{folder} cannot be used: {error.strerror}",
            "correct its permissions: Marsmith keeps there what it serves",
            code="not-writable",
        ) from error
    return folder


def pin(
    project: Project,
    port: int,
    name: str,
    source: Path,
    require_going: Callable[[], None] = lambda: None,
) -> PrivateCopy:
    """Copy an archive and its signature for the server on `port`; whole or not at all.

    Raises ArchiveError and ProjectError, and what `require_going` raises meanwhile.
    """
    if not is_name(name):
        raise ProjectError(
            f"{name!r} cannot name a model: it becomes part of a URL",
            "build it with another name: letters, digits, and - _ . after the first",
            code="bad-model-name",
        )
    ending = ".tar.gz" if source.name.endswith((".tar.gz", ".tgz")) else ".mar"
    store = store_of(project, port)
    temporary = store / f".{secrets.token_hex(8)}{ending}"
    try:
        copy_file(source, temporary, require_going)
        digest = Archive(temporary).digest
        target = store / f"{name}-{digest[:_DIGITS]}{ending}"
        _pin_signature(source, target)
        temporary.replace(target)
    except OSError as error:
        raise ArchiveError(
            f"{source} cannot be copied into {store}: {error.strerror}",
            "make room there, or correct the permissions",
            code="not-copied",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return PrivateCopy(target, name, source)


def _pin_signature(source: Path, target: Path) -> None:
    signature, copy = signature_file(source), signature_file(target)
    copy.unlink(missing_ok=True)
    if signature.exists():
        copy_file(signature, copy)


def pinned(project: Project, port: int, version: Version) -> PrivateCopy:
    """Return a version's archive. Raises ArchiveError if its bytes are not the recorded ones."""
    path = path_of(project, port, version)
    what = f"{version.name} {version.version} is served from {path}, but that file"
    hint = "start the server with --fresh, which serves what is built now; then deploy it again"
    if not path.exists():
        raise ArchiveError(f"{what} is gone", hint, code="deployed-file-gone")
    changed = ArchiveError(f"{what} has changed since", hint, code="deployed-file-changed")
    try:
        archive = PrivateCopy(path, version.name)
        same = archive.digest == version.sha256 or not version.sha256
    except ArchiveError as error:
        raise changed from error
    if not same:
        raise changed
    return archive


def path_of(project: Project, port: int, version: Version) -> Path:
    """Return the file of a version's archive."""
    return store_of(project, port) / version.file


def with_version(archive: Archive, version: str, folder: Path) -> Path:
    """Copy an archive with another version in its manifest; nothing else of it changes.

    TorchServe reads the version from the manifest. Raises ArchiveError.
    """
    target = folder / f"{archive.name}.mar"
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unpacked-") as unpacked:
        archive.unpack(Path(unpacked))
        values = json.loads(archive.read(MANIFEST_FILE))
        values["model"]["modelVersion"] = version
        entries: dict[str, Content] = {one: Path(unpacked) / one for one in archive.names}
        entries[MANIFEST_FILE] = (json.dumps(values, indent=2, sort_keys=True) + "\n").encode()
        try:
            with replacing(target) as file:
                write_stored_zip(file, entries)
        except OSError as error:
            raise ArchiveError(
                f"{archive.shown} cannot be copied as version {version}: {error.strerror}",
                f"make room in {folder}",
                code="not-copied",
            ) from error
    return target


def offer_built(project: Project, port: int) -> None:
    """Let the management API load what is in the model store, by links. Raises OSError.

    TorchServe takes files by name, and its own clients name those of the model store. What they
    load so is not Marsmith's: no digest is recorded of it.
    """
    store = store_of(project, port)
    built = {path.name: path for path in project.model_store.glob("[!.]*") if is_file(path.name)}
    for path in store.iterdir():
        if path.is_symlink() and path.name not in built:
            path.unlink()
    for name, path in built.items():
        if not os.path.lexists(store / name):
            (store / name).symlink_to(path.resolve())


def discard(project: Project, port: int, files: Iterable[str]) -> None:
    """Remove copies of archives, with their signatures."""
    store = store_of(project, port)
    for name in files:
        for path in (store / name, signature_file(store / name)):
            with suppress(OSError):  # a disk that is read-only now keeps them
                path.unlink(missing_ok=True)


def discard_all_but(project: Project, port: int, kept: Iterable[str]) -> None:
    """Remove all that the server on `port` loads, but for the files `kept`."""
    found = {path.name.removesuffix(".sig") for path in store_of(project, port).iterdir()}
    discard(project, port, found - set(kept))


def keep_deployed(project: Project, port: int, aside: Record = ()) -> None:
    """Keep what was deployed to a server that has ended, and `aside`; remove the rest.

    Raises OSError.
    """
    with recording_within(project, port) as alone:
        if not alone:
            return  # a deployment is being undone; the next serve tidies up
        lasting = (*deployed(read_record(project, port)), *aside)
        lasting = tuple({(one.name, one.version): one for one in lasting}.values())
        write_record(project, port, lasting)
        discard_all_but(project, port, [one.file for one in lasting])


def tidy_up(project: Project, own: int) -> None:
    """Remove what servers that were killed have left: of the port whose lock we have, and others.

    Of another port, nothing goes while its server runs, or a change that was killed is not undone.
    """
    for folder in (project.root / ".marsmith" / "servers").glob("*/archives"):
        port = int(folder.parent.name) if folder.parent.name.isdecimal() else None
        with suppress(OSError, ProjectError, ServerError):  # the next serve tries again
            if port == own:
                keep_deployed(project, own)
            elif port is not None and recorded_server(project, port) is None:
                with locked_within(folder.parent / SERVING_LOCK, 0.0) as alone:
                    if alone and unfinished_change(project, port) is None:
                        keep_deployed(project, port)
