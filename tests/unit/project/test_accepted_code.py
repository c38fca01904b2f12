"""marsmith/project/accepted_code.py: what runs code is refused, unless its digest is accepted."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest

from marsmith.archive.private_copy import PrivateCopy, private_copy
from marsmith.archive.reader import Archive
from marsmith.check.checking import check
from marsmith.check.targets import Target
from marsmith.core.errors import ArchiveError, ProjectError
from marsmith.core.findings import FindingsError
from marsmith.project.accepted_code import accepted_by, code_problem, refuse_code
from marsmith.project.project import Project
from marsmith.project.spec import parse_spec
from marsmith.server.lookup import server_properties
from marsmith.server.options import ServeOptions
from marsmith.server.pinned_archives import pin
from marsmith.server.start_plan import built_archive, plan_start
from marsmith.server.version_record import Version, write_record
from marsmith.weights.code_search import code_in
from marsmith.worker.runtime import Runtime
from tests.codes import coded


class Encoder:
    """A class of the user's own."""


class Attack:
    def __reduce__(self) -> Any:
        return os.system, ("true",)


TABLE = '[archives.own]\nversion = "1.0"\nhandler = "own.py"\n'
OWN = pickle.dumps(Encoder())


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def project(folder: Path, content: bytes = OWN, more: str = "") -> Path:
    """Write a project with an archive of one file; return the archive's path."""
    (folder / "model_store").mkdir(exist_ok=True)
    (folder / "archives.toml").write_text(TABLE + more)
    path = folder / "model_store" / "own.mar"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("encoder.pkl", content)
    return path


def opened(folder: Path, content: bytes = OWN, more: str = "") -> Archive:
    return Archive(project(folder, content, more))


def accepting(content: bytes) -> str:
    return f'accepted_code = {{ "encoder.pkl" = "{digest_of(content)}" }}\n'


def test_code_is_refused_until_its_digest_is_accepted(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, check=coded("weights-execute")):
        refuse_code(opened(tmp_path))
    refuse_code(opened(tmp_path, more=accepting(OWN)))
    changed = pickle.dumps([Encoder()])
    with pytest.raises(ArchiveError, check=coded("weights-execute")):
        refuse_code(opened(tmp_path, changed, accepting(OWN)))


def test_the_line_in_the_hint_is_what_accepts_the_file(tmp_path: Path) -> None:
    path = project(tmp_path, more='accepted_code = { "old.pkl" = "' + digest_of(b"") + '" }\n')
    spec = Project(tmp_path).archives["own"]
    (found,) = code_in(path)
    line = code_problem(found, spec)[1].partition("[archives.own]: ")[2]
    assert parse_spec(TABLE + line).archives["own"].accepted_code == {
        "old.pkl": digest_of(b""),
        "encoder.pkl": digest_of(OWN),
    }


def test_an_attack_gets_no_such_line(tmp_path: Path) -> None:
    (found,) = code_in(project(tmp_path, pickle.dumps(Attack())))
    assert found.digest not in code_problem(found, Project(tmp_path).archives["own"])[1]


def test_an_archive_outside_of_a_model_store_has_no_project(tmp_path: Path) -> None:
    path = project(tmp_path, more=accepting(OWN)).rename(tmp_path / "own.mar")
    with pytest.raises(ArchiveError, check=coded("weights-execute")):
        refuse_code(Archive(path))
    refuse_code(Archive(path), accepted_by(Project(tmp_path)))


@pytest.mark.parametrize("digest", ["sha256:00", "00" * 32, "sha256:" + "Z" * 64])
def test_what_is_no_digest_is_a_finding_of_the_spec(tmp_path: Path, digest: str) -> None:
    project(tmp_path, more=f'accepted_code = {{ "encoder.pkl" = "{digest}" }}\n')
    with pytest.raises(FindingsError) as caught:
        _ = Project(tmp_path).archives
    assert [one.rule for one in caught.value.findings] == ["spec-value"]


class Trap:
    """Unpickling it leaves a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


LOADS = """\
import pickle

with open("encoder.pkl", "rb") as file:
    pickle.load(file)


def handle(data, context):
    return ["" for _ in data or ()]
"""


def trapped(folder: Path) -> tuple[Path, Path]:
    """Write an archive whose handler loads a trap; return it, and what the trap leaves."""
    path = project(folder, pickle.dumps(Trap(folder / "sprung")))
    model = {"modelName": "own", "handler": "own.py", "modelVersion": "1.0"}
    manifest = {"runtime": "python", "model": model}
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("own.py", LOADS)
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
    return path, folder / "sprung"


def test_what_is_searched_is_what_is_loaded(tmp_path: Path) -> None:
    """Another file that takes the archive's name, once it is open, hides nothing."""
    path, sprung = trapped(tmp_path)
    archive = Archive(path)
    path.rename(tmp_path / "trapped.mar")
    project(tmp_path, pickle.dumps({}))
    with pytest.raises(ArchiveError, check=coded("weights-execute")):
        Runtime(archive).start()
    assert not sprung.exists()


def test_a_private_copy_stays_what_it_was(tmp_path: Path) -> None:
    path = project(tmp_path)
    folder = tmp_path / "private"
    Archive(path).unpack(tmp_path / "unpacked")
    for source in (path, tmp_path / "unpacked"):
        (folder / source.name).mkdir(parents=True)
        copy = private_copy(source, folder / source.name)
        before = copy.digest, copy.read("encoder.pkl")
        changed = source / "encoder.pkl" if source.is_dir() else source
        changed.write_bytes(changed.read_bytes().replace(b"Encoder", b"encodeR"))
        assert (copy.digest, copy.read("encoder.pkl")) == before
        assert copy.digest == PrivateCopy(copy.path, "own").digest
        assert copy.shown == source


def test_codes_of_copies_are_accepted_by_the_project_they_were_copied_from(tmp_path: Path) -> None:
    path = project(tmp_path, more=accepting(OWN))
    (tmp_path / "private").mkdir()
    refuse_code(private_copy(path, tmp_path / "private"))
    with pytest.raises(ArchiveError, check=coded("weights-execute")):
        refuse_code(Archive(tmp_path / "private" / "archive"))


def test_nothing_that_runs_archives_runs_refused_code(tmp_path: Path) -> None:
    path, sprung = trapped(tmp_path)
    place = Project(tmp_path)
    for run in (
        lambda: Runtime(path).start(),
        lambda: Runtime(path, in_process=True).start(),
        lambda: built_archive(place, 80, "own"),
    ):
        with pytest.raises(ArchiveError, check=coded("weights-execute")):
            run()
    assert [one.rule for one in check(Target("own", path), timeout=60).findings] == [
        "weights-execute"
    ]
    assert not sprung.exists()


def test_an_archive_that_asks_for_a_crowd_of_workers_is_not_served(tmp_path: Path) -> None:
    path = project(tmp_path, b"plain")
    model = {"modelName": "own", "modelVersion": "1.0", "handler": "own.py"}
    manifest = {"runtime": "python", "model": model | {"configFile": "config.yaml"}}
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("config.yaml", "minWorkers: 5000\n")
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
    with pytest.raises(ProjectError, check=coded("too-many-workers")):
        built_archive(Project(tmp_path), 80, "own")


def test_what_was_deployed_is_searched_before_it_is_served_again(tmp_path: Path) -> None:
    """Its copy lies elsewhere than in the model store, and may have been built elsewhere."""
    path, _ = trapped(tmp_path)
    (found,) = code_in(path)
    place = Project(tmp_path)
    copy = pin(place, 80, "own", path)
    served = Version("own", "1.0", copy.path.name, copy.digest, default=True, deployed=True)
    write_record(place, 80, (served,))
    path.unlink()
    options, properties = ServeOptions(names=("own",)), server_properties(place, 80)
    with pytest.raises(ArchiveError, check=coded("weights-execute")):
        plan_start(place, options, properties)
    accepting_it = f'accepted_code = {{ "encoder.pkl" = "{found.digest}" }}\n'
    (tmp_path / "archives.toml").write_text(TABLE + accepting_it)
    (restored,) = plan_start(Project(tmp_path), options, properties).restored
    assert restored == served


@pytest.mark.processes
def test_accepted_code_runs(tmp_path: Path) -> None:
    path, sprung = trapped(tmp_path)
    (found,) = code_in(path)
    assert check(Target("own", path), timeout=60, accept=[found.digest]).errors == 0
    assert sprung.exists()


@pytest.mark.parametrize("content", [b"c__main__\nNet\n.", b"c__main__\nTokenizer\n)R."])
def test_a_class_of_a_notebook_is_not_offered_for_acceptance(
    tmp_path: Path, content: bytes
) -> None:
    (found,) = code_in(project(tmp_path, content))
    message, hint = code_problem(found, parse_spec(TABLE).archives["own"])
    assert "__main__." in message
    assert "accepted_code" not in hint
