"""marsmith/server/pinned_archives.py: what a server loads, nobody else can change."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from marsmith.archive.private_copy import PrivateCopy
from marsmith.archive.reader import Archive
from marsmith.core.errors import ArchiveError, ProjectError, RolloutError
from marsmith.core.file_lock import locked
from marsmith.core.hashing import sha256_of
from marsmith.project.project import Project
from marsmith.server.pinned_archives import (
    keep_deployed,
    offer_built,
    pin,
    pinned,
    store_of,
    tidy_up,
    with_version,
)
from marsmith.server.state import SERVING_LOCK, server_folder
from marsmith.server.version_record import Version, read_record, write_record
from tests.codes import coded
from tests.unit.archive.streams import Member, write_zip

MANIFEST = b'{"model": {"modelName": "m", "modelVersion": "%s", "handler": "h.py"}}'
PORT = 80


def write(path: Path, version: bytes = b"1.0", code: bytes = b"good = 1") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    members = (Member(b"MAR-INF/MANIFEST.json", MANIFEST % version), Member(b"h.py", code))
    return write_zip(path, members)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def source(project: Project) -> Path:
    return write(project.model_store / "m.mar")


def version_of(archive: PrivateCopy) -> Version:
    return Version("m", "1.0", archive.path.name, archive.digest, deployed=True)


def names(project: Project, port: int = PORT) -> set[str]:
    return {path.name for path in store_of(project, port).iterdir()}


def test_a_copy_is_private_and_read_only(project: Project, source: Path) -> None:
    copy = pin(project, PORT, "m", source)
    assert stat.S_IMODE(copy.path.stat().st_mode) == 0o400
    assert stat.S_IMODE(copy.path.parent.stat().st_mode) == 0o700
    assert copy.path.stat().st_nlink == 1
    assert (copy.name, copy.shown, copy.digest) == ("m", source, sha256_of(source))


@pytest.mark.parametrize("how", ["replaced", "written in place", "gone"])
def test_a_copy_stays_what_it_was(project: Project, source: Path, how: str) -> None:
    copy = pin(project, PORT, "m", source)
    digest = copy.digest
    if how == "gone":
        source.unlink()
    elif how == "replaced":
        write(source.with_name("evil"), code=b"evil = 1").replace(source)
    else:
        write(source, code=b"evil = 1")
    again = pinned(project, PORT, version_of(copy))
    assert (again.digest, again.read("h.py")) == (digest, b"good = 1")


def test_a_source_that_changes_while_it_is_copied_is_recorded_as_what_was_copied(
    project: Project, source: Path
) -> None:
    evil = write(source.with_name("evil"), code=b"evil = 1").read_bytes()

    def swap() -> None:
        source.write_bytes(evil)

    copy = pin(project, PORT, "m", source, swap)
    assert copy.digest == sha256_of(copy.path)
    assert pinned(project, PORT, version_of(copy)).digest == sha256_of(copy.path)


@pytest.mark.parametrize("how", ["written", "replaced", "cut", "emptied", "hidden code"])
def test_a_copy_that_was_altered_is_found(project: Project, source: Path, how: str) -> None:
    copy = pin(project, PORT, "m", source)
    version = version_of(copy)
    evil = write(project.root / "evil", code=b"evil = 1")
    copy.path.chmod(0o600)
    content = copy.path.read_bytes()
    if how == "replaced":
        evil.replace(copy.path)
    else:
        altered = {"written": evil.read_bytes(), "cut": content[:-9], "emptied": b""}
        copy.path.write_bytes(altered.get(how, content + b"hidden"))
    with pytest.raises(ArchiveError, check=coded("deployed-file-changed")):
        pinned(project, PORT, version)


def test_a_copy_that_is_gone_is_named(project: Project, source: Path) -> None:
    copy = pin(project, PORT, "m", source)
    copy.path.unlink()
    with pytest.raises(ArchiveError, check=coded("deployed-file-gone")):
        pinned(project, PORT, version_of(copy))


def test_a_copy_that_was_altered_is_mended_by_a_new_one(project: Project, source: Path) -> None:
    copy = pin(project, PORT, "m", source)
    version = version_of(copy)
    copy.path.chmod(0o600)
    copy.path.write_bytes(b"")
    pin(project, PORT, "m", source)
    assert pinned(project, PORT, version).read("h.py") == b"good = 1"


def test_the_signature_comes_along(project: Project, source: Path) -> None:
    source.with_name("m.mar.sig").write_text("signed")
    copy = pin(project, PORT, "m", source)
    signature = copy.path.with_name(f"{copy.path.name}.sig")
    assert signature.read_text() == "signed"
    source.with_name("m.mar.sig").unlink()
    pin(project, PORT, "m", source)
    assert not signature.exists()


@pytest.mark.parametrize("name", ["../m", "a/b", "", ".", "m\n"])
def test_a_name_that_is_a_path_is_refused(project: Project, source: Path, name: str) -> None:
    with pytest.raises(ProjectError, check=coded("bad-model-name")):
        pin(project, PORT, name, source)


def test_what_fails_leaves_nothing(project: Project, source: Path) -> None:
    def stopped() -> None:
        raise RolloutError("", "")

    with pytest.raises(RolloutError):
        pin(project, PORT, "m", source, stopped)
    source.write_bytes(source.read_bytes() + b"x")
    with pytest.raises(ArchiveError, check=coded("archive-contradicts-itself")):
        pin(project, PORT, "m", source)
    source.unlink()
    with pytest.raises(ArchiveError, check=coded("not-copied")):
        pin(project, PORT, "m", source)
    assert names(project) == set()


def test_a_copy_with_another_version_holds_the_same_files(
    project: Project, source: Path, tmp_path: Path
) -> None:
    made = Archive(with_version(pin(project, PORT, "m", source), "2.0", tmp_path))
    assert made.manifest.model_version == "2.0"
    assert made.read("h.py") == b"good = 1"


def test_only_what_was_deployed_is_kept_after_the_end(project: Project, source: Path) -> None:
    kept = pin(project, PORT, "m", source)
    built = pin(project, PORT, "m", write(source, code=b"built = 1"))
    offer_built(project, PORT)
    records = (version_of(kept), replace(version_of(built), version="2.0", deployed=False))
    write_record(project, PORT, records)
    keep_deployed(project, PORT)
    assert names(project) == {kept.path.name}
    assert [one.version for one in read_record(project, PORT)] == ["1.0"]


def test_the_next_serve_removes_what_a_killed_one_left(project: Project, source: Path) -> None:
    for port in (80, 90, 100):
        pin(project, port, "m", source)
    kept = version_of(pin(project, 100, "m", source))
    write_record(project, 100, (kept,))
    with locked(server_folder(project, 90) / SERVING_LOCK):
        tidy_up(project, 80)
        assert [len(names(project, port)) for port in (80, 90, 100)] == [0, 1, 1]
    tidy_up(project, 90)
    assert [len(names(project, port)) for port in (80, 90, 100)] == [0, 0, 1]


def test_what_is_built_is_offered_and_never_in_the_place_of_a_copy(
    project: Project, source: Path
) -> None:
    copy = pin(project, PORT, "m", source)
    in_its_place = write(project.model_store / copy.path.name, code=b"evil = 1")
    offer_built(project, PORT)
    assert Archive(store_of(project, PORT) / "m.mar").digest == Archive(source).digest
    assert pinned(project, PORT, version_of(copy)).read("h.py") == b"good = 1"
    in_its_place.unlink()
    source.unlink()
    offer_built(project, PORT)
    assert names(project) == {copy.path.name}
    assert os.path.lexists(copy.path)
