"""What comes out is written down, and nothing else comes out."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from marsmith.building.building import build, build_and_lock, build_locked
from marsmith.core.errors import ProjectError
from marsmith.core.findings import FindingsError
from marsmith.project.lockfile import parse_lock
from marsmith.project.project import Project
from tests.codes import coded
from tests.projects import FILES, HANDLER, SPEC
from tests.unit.conftest import MakeProject

pytestmark = pytest.mark.processes

OTHER = '\n[archives.other]\nversion = "2"\nhandler = "handlers/tiny_handler.py"\n'


@pytest.fixture
def both(project: MakeProject) -> Project:
    """A project of two archives, locked and built."""
    made = project(FILES, SPEC + OTHER)
    build_and_lock(made)
    return made


def digests(project: Project) -> dict[str, str]:
    store = project.model_store
    return {
        path.stem: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (store.iterdir() if store.exists() else ())
    }


def findings(project: Project, *names: str, force: bool = False) -> list[tuple[str, str]]:
    """Return the rule of each finding, and the archive that it is about."""
    with pytest.raises(FindingsError) as caught:
        build_locked(Project(project.root), names, force=force)
    return [(one.rule, one.message.split()[0]) for one in caught.value.findings]


def change(project: Project, path: str, text: str) -> None:
    (project.root / path).write_text(text)


# ---- writing


def test_the_lock_says_what_is_in_the_model_store(both: Project) -> None:
    lock = parse_lock((both.root / "archives.lock").read_text())
    assert {name: one.sha256 for name, one in lock.archives.items()} == digests(both)
    assert lock.archives["tiny"].size == (both.model_store / "tiny.mar").stat().st_size
    assert {name: one.version for name, one in lock.archives.items()} == {
        "tiny": "1.0",
        "other": "2",
    }


def test_building_alone_writes_no_lock(project: MakeProject) -> None:
    tiny = project()
    build(tiny)
    assert not (tiny.root / "archives.lock").exists()


def test_the_same_archives_give_the_same_lock(both: Project) -> None:
    before = (both.root / "archives.lock").read_bytes()
    build_and_lock(Project(both.root), force=True)
    assert (both.root / "archives.lock").read_bytes() == before


def test_a_build_that_fails_leaves_the_lock_as_it_was(both: Project) -> None:
    before = (both.root / "archives.lock").read_bytes()
    change(both, "handlers/tiny_handler.py", "no python")
    with pytest.raises(FindingsError):
        build_and_lock(Project(both.root))
    assert (both.root / "archives.lock").read_bytes() == before


def test_a_lock_that_cannot_be_written_is_an_error(project: MakeProject) -> None:
    tiny = project()
    (tiny.root / "archives.lock").mkdir()
    with pytest.raises(ProjectError, check=coded("not-writable")):
        build_and_lock(tiny)


# ---- holding builds against it


@pytest.mark.parametrize("force", [False, True])
def test_what_comes_out_as_locked_is_built(both: Project, force: bool) -> None:
    built = build_locked(Project(both.root), force=force)
    assert [(one.name, one.fresh) for one in built] == [("tiny", force), ("other", force)]


def test_a_fresh_clone_builds_as_locked(both: Project) -> None:
    before = digests(both)
    for path in both.model_store.iterdir():
        path.unlink()
    build_locked(Project(both.root))
    assert digests(both) == before


def test_one_that_would_come_out_different_stays_as_it_was(both: Project) -> None:
    before = digests(both)
    change(both, "extra/labels.json", "{}")
    change(both, "archives.toml", (SPEC + OTHER).replace('"1.0"', '"1.1"'))
    assert findings(both) == [("lock-differs", "tiny")]
    assert digests(both) == before
    assert sorted(path.name for path in both.model_store.iterdir()) == ["other.mar", "tiny.mar"]
    (other,) = build_locked(Project(both.root), ("other",))
    assert other.sha256 == before["other"]


def test_one_that_stands_and_is_not_the_locked_one_is_a_finding(both: Project) -> None:
    before = digests(both)
    change(both, "extra/labels.json", "{}")
    built = build(Project(both.root))
    assert findings(both) == [("lock-differs", "tiny")]
    assert digests(both) == {one.name: one.sha256 for one in built} != before


def test_the_others_are_built_all_the_same(both: Project) -> None:
    before = digests(both)
    for path in both.model_store.iterdir():
        path.unlink()
    change(both, "extra/labels.json", "{}")
    assert findings(both) == [("lock-differs", "tiny")]
    assert digests(both) == {"other": before["other"]}


def test_each_archive_has_its_finding(both: Project) -> None:
    change(both, "handlers/tiny_handler.py", HANDLER + "# new\n")
    assert findings(both, force=True) == [
        ("lock-differs", "tiny"),
        ("lock-differs", "other"),
    ]


def test_one_that_is_not_locked_is_not_built(both: Project) -> None:
    change(both, "archives.toml", SPEC + OTHER + OTHER.replace("archives.other", "archives.new"))
    assert findings(both) == [("not-locked", "new")]
    assert "new" not in digests(both)


@pytest.mark.parametrize("names", [(), ("tiny",)])
def test_one_that_is_locked_and_not_described_is_a_finding(
    both: Project, names: tuple[str, ...]
) -> None:
    change(both, "archives.toml", SPEC)
    assert findings(both, *names) == [("lock-unknown", "other")]


def test_without_a_lock_it_says_how_to_make_one(project: MakeProject) -> None:
    with pytest.raises(ProjectError, check=coded("no-lock")) as caught:
        build_locked(project())
    assert "marsmith build --lock" in caught.value.hint


def test_a_lock_that_is_no_text_is_an_error(both: Project) -> None:
    (both.root / "archives.lock").write_bytes(b"\xff\xfe")
    with pytest.raises(ProjectError, check=coded("lock-unreadable")):
        build_locked(both)


def test_nothing_is_left_behind_when_a_build_is_refused(
    both: Project, temporary_folder: Path
) -> None:
    change(both, "extra/labels.json", "{}")
    findings(both)
    assert list(temporary_folder.iterdir()) == []
    assert sorted(path.name for path in both.model_store.iterdir()) == ["other.mar", "tiny.mar"]
