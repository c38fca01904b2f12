"""What is built, when, and that the bytes depend on the inputs alone."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from marsmith.building.building import build, is_stale
from marsmith.core.errors import ProjectError
from marsmith.core.findings import FindingsError, Severity
from marsmith.project.project import Project
from tests.projects import (
    FILES,
    HANDLER,
    MODEL,
    SPEC,
    make_project,
    minimal_spec,
    run_marsmith,
    write_files,
)
from tests.unit.conftest import MakeProject, SavedByTorch

FULL_SPEC = SPEC.replace(
    "extra_files",
    'model_file = "model_defs/net.py"\nserialized_file = "weights/net.pth"\nextra_files',
)
TWO_SPECS = SPEC + '\n[archives.other]\nversion = "2"\nhandler = "handlers/tiny_handler.py"\n'

# Runs the command with a limit on the size of the files it writes, like a full disk.
LIMITED = """\
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
sys.argv[1:] = sys.argv[2:]
from marsmith.cli import main
main()
"""


def identity(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_ino


def leftovers(project: Project) -> list[str]:
    """Return the files in the folders Marsmith writes to that are no archive, record or lock."""
    folders = (project.model_store, project.root / ".marsmith")
    found = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in found if path.suffix not in (".mar", ".json", ".lock", "")]


# ---- the same inputs make the same bytes


@dataclass(frozen=True)
class Elsewhere:
    """What may differ between two machines that build the same archive."""

    name: str
    folder: str = "project"
    env: dict[str, str] = field(default_factory=dict)
    umask: int = -1
    reverse: bool = False
    change: Callable[[Path], None] = lambda _root: None


def _touch_all(root: Path) -> None:
    for path in root.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))


def _tighten_all(root: Path) -> None:
    for path in root.rglob("*"):
        path.chmod(0o700)


def _litter(root: Path) -> None:
    write_files(
        root / "extra",
        {"__pycache__/x.cpython-311.pyc": b"x", ".hidden": "", "inner/.cache/y": "", "z.pyc": b""},
    )


ELSEWHERE = [
    Elsewhere("another folder", folder="a folder/with another name ü"),
    Elsewhere("another umask", umask=0o077),
    Elsewhere("another locale", env={"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0"}),
    Elsewhere("another time zone", env={"TZ": "Asia/Tokyo"}),
    Elsewhere("other file times", change=_touch_all),
    Elsewhere("other file modes", change=_tighten_all),
    Elsewhere("another order of files", reverse=True),
    Elsewhere("caches and hidden files", change=_litter),
    Elsewhere("another hash seed", env={"PYTHONHASHSEED": "7"}),
]


def _built_digest(root: Path, saved: SavedByTorch, place: Elsewhere) -> str:
    files = FILES | {"model_defs/net.py": MODEL, "weights/net.pth": saved.state_dict_zip}
    if place.reverse:
        files = dict(reversed(files.items()))
    project = make_project(root / place.folder, files, FULL_SPEC)
    place.change(project.root)
    result = run_marsmith("--project", project.root, "build", env=place.env, umask=place.umask)
    assert result.returncode == 0, result.stderr
    return hashlib.sha256((project.model_store / "tiny.mar").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def digest_here(tmp_path_factory: pytest.TempPathFactory, saved: SavedByTorch) -> str:
    place = Elsewhere("here", env={"LC_ALL": "C.utf8", "TZ": "UTC", "PYTHONHASHSEED": "1"})
    return _built_digest(tmp_path_factory.mktemp("here"), saved, place)


@pytest.mark.processes
@pytest.mark.parametrize("place", ELSEWHERE, ids=lambda place: place.name)
def test_an_archive_is_the_same_to_the_byte_elsewhere(
    digest_here: str, saved: SavedByTorch, tmp_path: Path, place: Elsewhere
) -> None:
    assert _built_digest(tmp_path, saved, place) == digest_here


def test_another_input_makes_another_archive(project: MakeProject) -> None:
    one = build(project(folder="one"))[0]
    other = build(project(FILES | {"extra/empty.txt": "x"}, folder="other"))[0]
    assert one.sha256 != other.sha256


def test_the_digest_is_that_of_the_file(project: MakeProject) -> None:
    (built,) = build(project())
    assert built.sha256 == hashlib.sha256(built.path.read_bytes()).hexdigest()
    assert (built.size, built.fresh) == (built.path.stat().st_size, True)


# ---- what is built again


def test_a_build_without_changes_leaves_the_file_alone(project: MakeProject) -> None:
    tiny = project()
    (first,) = build(tiny)
    before = identity(first.path)
    (second,) = build(Project(tiny.root))
    assert (second.fresh, second.sha256, second.size) == (False, first.sha256, first.size)
    assert identity(second.path) == before


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_change_in_any_input_is_seen(project: MakeProject, name: str) -> None:
    tiny = project()
    (first,) = build(tiny)
    path = tiny.root / name
    path.write_bytes(path.read_bytes() + b"\n# more")
    assert is_stale(tiny, "tiny")
    (second,) = build(tiny)
    assert second.fresh
    assert second.sha256 != first.sha256
    assert not is_stale(tiny, "tiny")


def test_a_change_that_keeps_size_and_time_is_seen(project: MakeProject) -> None:
    tiny = project()
    build(tiny)
    path = tiny.root / "extra/labels.json"
    before = path.stat()
    path.write_bytes(path.read_bytes().replace(b"zero", b"null"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    (built,) = build(tiny)
    assert built.fresh


@pytest.mark.parametrize(
    ("old", "new"),
    [('version = "1.0"', 'version = "1.1"'), ("batchSize = 4", "batchSize = 5")],
)
def test_a_change_in_the_spec_is_seen(project: MakeProject, old: str, new: str) -> None:
    tiny = project()
    (first,) = build(tiny)
    (tiny.root / "archives.toml").write_text(SPEC.replace(old, new))
    (second,) = build(Project(tiny.root))
    assert second.fresh
    assert second.sha256 != first.sha256


def test_a_comment_in_the_spec_is_no_change(project: MakeProject) -> None:
    tiny = project()
    build(tiny)
    (tiny.root / "archives.toml").write_text("# a comment\n" + SPEC)
    assert [built.fresh for built in build(Project(tiny.root))] == [False]


def test_a_new_file_in_an_extra_folder_is_seen_and_a_removed_one_too(
    project: MakeProject,
) -> None:
    tiny = project()
    (first,) = build(tiny)
    (tiny.root / "extra/new.txt").write_text("new")
    assert build(tiny)[0].fresh
    (tiny.root / "extra/new.txt").unlink()
    (third,) = build(tiny)
    assert (third.fresh, third.sha256) == (True, first.sha256)


def test_a_changed_import_is_seen_and_a_new_and_a_removed_one_too(project: MakeProject) -> None:
    handler = "import os\n" + HANDLER
    tiny = project({"handlers/h.py": handler}, minimal_spec(handler="handlers/h.py"))
    build(tiny)
    steps: list[tuple[str, str | None]] = [
        ("handlers/h.py", f"import helper\n{HANDLER}"),
        ("helper.py", "HELP = 1"),
        ("helper.py", "HELP = 2"),
        ("handlers/helper.py", "HELP = 2  # comes first"),
        ("handlers/helper.py", None),
    ]
    for name, text in steps:
        path = tiny.root / name
        path.write_text(text) if text else path.unlink()
        assert [built.fresh for built in build(tiny)] == [True], name
        assert [built.fresh for built in build(tiny)] == [False], name


@pytest.mark.processes
@pytest.mark.parametrize("place", ["site-packages", "a clone/handlers"])
def test_an_archive_is_the_same_wherever_the_handlers_are_installed(
    project: MakeProject, tmp_path: Path, place: str
) -> None:
    files = {"marsmith_handlers/__init__.py": "", "marsmith_handlers/base.py": HANDLER}
    handler = "from marsmith_handlers.base import TinyHandler\nclass Own(TinyHandler): ...\n"
    with_copy = project({"handler.py": handler, **files}, minimal_spec(), "with a copy")
    without = project({"handler.py": handler}, minimal_spec(), "without")
    write_files(tmp_path / place, files)
    env = {"PYTHONPATH": str(tmp_path / place)}
    result = run_marsmith("build", "--json", cwd=without.root, env=env)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)[0]["sha256"] == build(with_copy)[0].sha256


def test_a_project_that_lists_its_imports_builds_as_before(project: MakeProject) -> None:
    files = {"handler.py": f"import helper\n{HANDLER}", "helper.py": ""}
    listing = project(files, minimal_spec('extra_files = ["helper.py"]\n'), "listing")
    (built,) = build(listing)
    assert "listed-import" in [finding.rule for finding in built.warnings]
    assert built.sha256 == build(project(files, minimal_spec(), "short"))[0].sha256


def test_a_deleted_archive_is_built_again(project: MakeProject) -> None:
    tiny = project()
    (first,) = build(tiny)
    first.path.unlink()
    assert is_stale(tiny, "tiny")
    (second,) = build(tiny)
    assert (second.fresh, second.sha256) == (True, first.sha256)


def test_an_archive_that_someone_else_wrote_is_built_again(project: MakeProject) -> None:
    tiny = project()
    (first,) = build(tiny)
    first.path.write_bytes(b"not ours")
    (second,) = build(tiny)
    assert (second.fresh, second.sha256) == (True, first.sha256)


def test_force_builds_what_is_unchanged(project: MakeProject) -> None:
    tiny = project()
    (first,) = build(tiny)
    (second,) = build(tiny, force=True)
    assert (second.fresh, second.sha256) == (True, first.sha256)


@pytest.mark.parametrize("record", ["", "{", "[]", "{}", "null", '{"inputs": 1, "output": 2}'])
def test_a_record_that_cannot_be_used_is_no_record(project: MakeProject, record: str) -> None:
    tiny = project()
    (first,) = build(tiny)
    (tiny.root / ".marsmith/build/tiny.json").write_text(record)
    (second,) = build(tiny)
    assert (second.fresh, second.sha256) == (True, first.sha256)


def test_what_is_not_described_is_not_stale(project: MakeProject) -> None:
    assert not is_stale(project(), "unknown")


# ---- which archives are built


def test_all_archives_are_built_unless_some_are_named(project: MakeProject) -> None:
    both = project(spec=TWO_SPECS)
    assert [one.name for one in build(both, ("other", "other"))] == ["other"]
    assert [(one.name, one.fresh) for one in build(both)] == [("tiny", True), ("other", False)]


def test_an_unknown_name_gets_a_suggestion(project: MakeProject) -> None:
    with pytest.raises(ProjectError) as caught:
        build(project(), ("tiney",))
    assert caught.value.code == "unknown-archive"
    assert "'tiny'" in caught.value.hint


def test_problems_of_all_archives_are_reported_before_anything_is_written(
    project: MakeProject,
) -> None:
    spec = TWO_SPECS.replace('"proof/one.json"', '"proof/two.json"').replace(
        '"2"\nhandler = "handlers/tiny_handler.py"', '"2"\nhandler = "handlers/missing.py"'
    )
    broken = project(spec=spec)
    with pytest.raises(FindingsError) as caught:
        build(broken)
    errors = [one for one in caught.value.findings if one.severity is Severity.ERROR]
    assert [(one.rule, one.file) for one in errors] == [("file", "archives.toml")] * 2
    assert "two.json" in errors[0].message
    assert "missing.py" in errors[1].message
    assert not broken.model_store.exists()


def test_warnings_come_with_the_archive(project: MakeProject) -> None:
    built = build(project(spec=TWO_SPECS), ("other",))[0]
    assert [warning.rule for warning in built.warnings] == ["no-sample"]


# ---- builds side by side, and builds that fail


@pytest.mark.processes
def test_two_builds_at_once_both_succeed_and_leave_nothing(project: MakeProject) -> None:
    both = project(spec=TWO_SPECS)
    command = [sys.executable, "-m", "marsmith", "--project", str(both.root), "build", "--force"]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0]
    assert leftovers(both) == []
    assert sorted(path.name for path in both.model_store.iterdir()) == ["other.mar", "tiny.mar"]
    assert not any(one.fresh for one in build(both))


@pytest.mark.processes
@pytest.mark.parametrize("size", [200_000, 20_000_000], ids=["small", "several chunks"])
def test_a_write_that_fails_leaves_the_old_archive_and_no_temporary_file(
    project: MakeProject, size: int
) -> None:
    tiny = project()
    (first,) = build(tiny)
    before = identity(first.path)
    (tiny.root / "extra/large.bin").write_bytes(bytes(size))
    command = [sys.executable, "-c", LIMITED, "100000", "--project", str(tiny.root), "build"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert f"error[not-writable]: {first.path}" in result.stderr
    assert "Traceback" not in result.stderr
    assert "Exception ignored" not in result.stderr
    assert identity(first.path) == before
    assert hashlib.sha256(first.path.read_bytes()).hexdigest() == first.sha256
    assert leftovers(tiny) == []


def test_a_record_that_cannot_be_written_is_an_error_with_a_path(project: MakeProject) -> None:
    tiny = project()
    (tiny.root / ".marsmith/build/tiny.json").mkdir(parents=True)
    result = run_marsmith("--project", tiny.root, "build")
    assert "error[bug]" not in result.stderr
    assert "Traceback" not in result.stderr
    assert leftovers(tiny) == []


def test_a_model_store_that_is_a_file_is_reported(project: MakeProject) -> None:
    tiny = project()
    tiny.model_store.write_text("in the way")
    result = run_marsmith("--project", tiny.root, "build")
    assert result.returncode == 1
    assert "error[not-writable]" in result.stderr
    assert str(tiny.model_store) in result.stderr
    assert "Traceback" not in result.stderr
    assert leftovers(tiny) == []


def test_a_handler_with_its_entry_point_builds(project: MakeProject) -> None:
    spec = SPEC.replace("tiny_handler.py", "tiny_handler.py:predict")
    source = HANDLER + "\n\ndef predict(data, context):\n    return data\n"
    (built,) = build(project(FILES | {"handlers/tiny_handler.py": source}, spec))
    assert built.fresh
