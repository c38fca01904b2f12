"""Archives that are served, kept apart from those that are built.

TorchServe takes files of the model store's top folder only (ModelArchive.java). What a server may
have to load again is kept there under a hidden name of its own, so that no build can change it.
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

_DIGITS = 12  # of the sha256, in a file's name
_CHUNK = 8 << 20  # bytes


class PlacedArchive(Archive):
    """An archive whose file is not called as its model is."""

    def __init__(self, path: Path, name: str) -> None:
        self._name = name  # first: what cannot be opened is named by it
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

    It is its own where the model store cannot be written, or knows no hard links: then a build
    does change it, and its digest tells.
    """
    name = placed_name(port, archive.name, archive.digest, archive.path)
    target = project.model_store / name
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

    Raises ArchiveError if that cannot be done, and what `require_going` does meanwhile.
    """
    target = project.model_store / placed_name(port, name, Archive(source).digest, source)
    try:
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
        ) from error
    return target


def with_version(source: Path, version: str, folder: Path) -> Path:
    """Write an archive again with another version in its manifest; nothing else of it changes.

    TorchServe knows a version by the manifest alone. Raises ArchiveError.
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
                f"{source} cannot be written again as version {version}: {error.strerror}",
                f"make room in {folder}",
            ) from error
    return target


def discard(project: Project, files: Iterable[str]) -> None:
    """Remove archives that are kept under a hidden name; never one that is built."""
    for name in files:
        if name.startswith("."):
            for path in (project.model_store / name, signature_file(project.model_store / name)):
                with suppress(OSError):  # a model store that is read-only now keeps them
                    path.unlink(missing_ok=True)


def discard_all_but(project: Project, port: int, kept: Iterable[str]) -> None:
    """Remove what the server on `port` kept in the model store and no longer needs."""
    found = {path.name.removesuffix(".sig") for path in project.model_store.glob(f".{port}-*")}
    discard(project, found - set(kept))


def _copy_signature(source: Path, target: Path) -> None:
    signature = signature_file(source)
    if signature.exists():
        shutil.copyfile(signature, signature_file(target))
    else:
        signature_file(target).unlink(missing_ok=True)
