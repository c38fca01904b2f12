"""Archives that are served, kept apart from those that are built.

TorchServe takes files only from the model store's top folder (ModelArchive.java). What a server may
have to load again is kept there under a hidden name, so that no build can change it.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from marsmith.archive.manifest import MANIFEST_FILE
from marsmith.archive.reader import Archive
from marsmith.archive.stored_zip import Content, write_stored_zip
from marsmith.core.atomic_write import replacing
from marsmith.core.errors import ArchiveError
from marsmith.project.project import Project
from marsmith.security.signatures import signature_file
from marsmith.server.version_record import (
    Record,
    deployed,
    read_record,
    recording_within,
    write_record,
)

_DIGITS = 12  # of the sha256, in a file's name
_CHUNK = 8 << 20  # bytes


class PlacedArchive(Archive):
    """An archive whose file is stored under another name than its model's."""

    def __init__(self, path: Path, name: str) -> None:
        self._name = name  # first: the error of one that cannot be opened needs it
        super().__init__(path)

    @property
    def name(self) -> str:
        """The name that the model is served under."""
        return self._name


def placed_name(port: int, name: str, sha256: str, like: Path) -> str:
    """Return the hidden name for an archive that the server on `port` serves."""
    packed = like.name.endswith((".tar.gz", ".tgz"))
    return f".{port}-{name}-{sha256[:_DIGITS]}{'.tar.gz' if packed else '.mar'}"


def pin(project: Project, port: int, archive: Archive) -> str:
    """Keep an archive of the model store as it is now, and return the name to load it by.

    It stays under its own name if the model store cannot be written, or has no hard links. Then a
    build changes it, and its digest shows that.
    """
    name = placed_name(port, archive.name, archive.digest, archive.path)
    target = project.model_store / name
    if target == archive.path:
        return name
    try:
        target.unlink(missing_ok=True)
        target.hardlink_to(archive.path)
        _copy_signature(archive.path, target)
    except OSError:
        return archive.path.name
    return name


def place(
    project: Project, port: int, name: str, source: Path, require_going: Callable[[], None]
) -> Path:
    """Copy an archive and its signature into the model store; whole or not at all.

    Raises ArchiveError if that cannot be done, and what `require_going` raises meanwhile.
    """
    target = project.model_store / placed_name(port, name, Archive(source).digest, source)
    try:
        project.model_store.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as given, replacing(target) as file:
            while chunk := given.read(_CHUNK):
                require_going()
                file.write(chunk)
        _copy_signature(source, target)
    except OSError as error:
        discard(project, [target.name])
        raise ArchiveError(
            f"{source} cannot be copied into {project.model_store}: {error.strerror}",
            "make room there, or make it writable",
            code="not-copied",
        ) from error
    return target


def with_version(source: Path, version: str, folder: Path) -> Path:
    """Copy an archive with another version in its manifest; nothing else of it changes.

    TorchServe reads the version from the manifest. Raises ArchiveError.
    """
    archive = Archive(source)
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
                f"{source} cannot be copied as version {version}: {error.strerror}",
                f"make room in {folder}",
                code="not-copied",
            ) from error
    return target


def discard(project: Project, files: Iterable[str]) -> None:
    """Remove archives with a hidden name; never a built one."""
    for name in files:
        if name.startswith("."):
            for path in (project.model_store / name, signature_file(project.model_store / name)):
                with suppress(OSError):  # a model store that is read-only now keeps them
                    path.unlink(missing_ok=True)


def discard_all_but(project: Project, port: int, kept: Iterable[str]) -> None:
    """Remove what the server on `port` keeps in the model store, but for `kept`."""
    found = {path.name.removesuffix(".sig") for path in project.model_store.glob(f".{port}-*")}
    discard(project, found - set(kept))


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


def _copy_signature(source: Path, target: Path) -> None:
    signature = signature_file(source)
    if signature.exists():
        shutil.copyfile(signature, signature_file(target))
    else:
        signature_file(target).unlink(missing_ok=True)
