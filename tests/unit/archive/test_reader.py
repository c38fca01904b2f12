"""marsmith/archive/reader.py."""

from __future__ import annotations

import hashlib
import json
import tarfile
import zipfile
from pathlib import Path

import pytest

from marsmith.archive.reader import Archive
from marsmith.building.writer import write_archive
from marsmith.core.errors import ArchiveError
from tests.codes import coded
from tests.unit.conftest import MakeProject

MANIFEST = json.dumps({"model": {"modelName": "a", "handler": "h.py"}})
WITH_CONFIG = json.dumps({"model": {"modelName": "a", "handler": "h.py", "configFile": "c.yaml"}})


def zipped(path: Path, entries: dict[str, str], mode: int = zipfile.ZIP_STORED) -> Archive:
    with zipfile.ZipFile(path, "w", mode) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return Archive(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some.name.mar"


def test_an_archive_of_ours_says_everything_of_itself(project: MakeProject) -> None:
    tiny = project()
    digest = write_archive(tiny, tiny.spec_file.archives["tiny"])
    archive = Archive(tiny.model_store / "tiny.mar")
    assert archive.name == "tiny"
    assert (archive.manifest.model_name, archive.manifest.model_version) == ("tiny", "1.0")
    assert archive.manifest.handler == "tiny_handler.py"
    assert archive.model_config["batchSize"] == 4
    assert archive.read(archive.samples[0].request) == b"\x00\x01\x02"
    assert "inner/deep.txt" in archive.names
    assert archive.digest == digest


def test_a_foreign_archive_may_lack_config_and_samples(path: Path) -> None:
    archive = zipped(path, {"MAR-INF/MANIFEST.json": MANIFEST}, zipfile.ZIP_DEFLATED)
    assert (archive.name, archive.model_config, archive.samples) == ("some.name", {}, ())
    assert archive.manifest.model_version is None
    assert archive.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_one_file_is_copied_out_of_every_form(path: Path, tmp_path: Path) -> None:
    archive = zipped(path, {"in/a.txt": "a" * 5000}, zipfile.ZIP_DEFLATED)
    archive.unpack(tmp_path / "folder")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "folder", "folder")
    for one in (archive, Archive(tmp_path / "folder"), Archive(tmp_path / "a.tar.gz")):
        one.copy("in/a.txt", tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == b"a" * 5000
        with pytest.raises(ArchiveError, check=coded("archive-damaged")):
            one.copy("other", tmp_path / "copy")


def test_a_missing_archive_says_how_to_build_it(path: Path) -> None:
    with pytest.raises(ArchiveError, check=coded("archive-missing")) as caught:
        Archive(path)
    assert str(path) in caught.value.message
    assert caught.value.hint == "build it: marsmith build some.name"


@pytest.mark.parametrize("content", [b"", b"no zip at all"])
def test_what_is_no_zip_is_no_archive(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ArchiveError, check=coded("archive-damaged")):
        Archive(path)


def test_an_archive_that_is_cut_off_is_damaged(project: MakeProject) -> None:
    tiny = project()
    write_archive(tiny, tiny.spec_file.archives["tiny"])
    path = tiny.model_store / "tiny.mar"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ArchiveError, check=coded("archive-damaged")):
        Archive(path)


def test_an_empty_folder_lacks_its_manifest(path: Path) -> None:
    path.mkdir()
    with pytest.raises(
        ArchiveError, match=r"MAR-INF/MANIFEST\.json", check=coded("archive-damaged")
    ):
        _ = Archive(path).manifest


def test_a_zip_without_a_manifest_says_so(path: Path) -> None:
    archive = zipped(path, {"a": "b"})
    with pytest.raises(
        ArchiveError, match=r"MAR-INF/MANIFEST\.json", check=coded("archive-damaged")
    ):
        _ = archive.manifest


@pytest.mark.parametrize("mode", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_entry_is_an_archive_error(path: Path, mode: int) -> None:
    text = "".join(f"{number} " for number in range(1000))
    archive = zipped(path, {"a": text}, mode)
    data = bytearray(path.read_bytes())
    data[100:140] = b"\xff" * 40
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match=": a ", check=coded("archive-damaged")):
        archive.read("a")


def test_a_damaged_directory_is_an_archive_error(path: Path) -> None:
    zipped(path, {"a": "b"})
    path.write_bytes(path.read_bytes().replace(b"PK\x01\x02", b"PKxx"))
    with pytest.raises(ArchiveError, check=coded("archive-contradicts-itself")):
        Archive(path)


def test_a_config_that_is_no_yaml_is_an_archive_error(path: Path) -> None:
    archive = zipped(path, {"MAR-INF/MANIFEST.json": WITH_CONFIG, "c.yaml": "a: [1"})
    with pytest.raises(ArchiveError, match=r"c\.yaml", check=coded("model-config-unreadable")):
        _ = archive.model_config


@pytest.mark.parametrize("text", ["", "# nothing\n", "- 1\n"])
def test_a_config_that_torchserve_fails_on_is_an_archive_error(path: Path, text: str) -> None:
    archive = zipped(path, {"MAR-INF/MANIFEST.json": WITH_CONFIG, "c.yaml": text})
    with pytest.raises(ArchiveError, check=coded("model-config-unreadable")):
        _ = archive.model_config


ODD_SAMPLE = '[{"request": 5, "response": "b", "tolerance": 1}]'


@pytest.mark.parametrize("index", ["", "{", "[3]", '[{"other": 1}]', "3", ODD_SAMPLE, "[" * 99999])
def test_an_index_of_samples_that_is_none_is_an_archive_error(path: Path, index: str) -> None:
    archive = zipped(path, {"MAR-INF/MANIFEST.json": MANIFEST, "samples/samples.json": index})
    with pytest.raises(ArchiveError):
        _ = archive.samples


def test_an_archive_of_a_workflow_is_called_one(tmp_path: Path) -> None:
    entries = {"flow.yaml": "models: {}\n", "WAR-INF/MANIFEST.json": "{}"}
    with pytest.raises(ArchiveError, check=coded("workflow-archive")):
        zipped(tmp_path / "named-otherwise.mar", entries)
