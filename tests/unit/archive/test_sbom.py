"""marsmith/archive/sbom.py: complete, valid, and the same every time."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from marsmith import __version__
from marsmith.archive.reader import Archive
from marsmith.archive.sbom import bill_of_materials
from marsmith.building.building import build
from marsmith.core.errors import ArchiveError
from tests.codes import coded
from tests.projects import FILES, SPEC
from tests.unit.conftest import MakeProject

pytestmark = pytest.mark.processes

WITH_REQUIREMENTS = SPEC.replace("extra_files", 'requirements_file = "needs.txt"\nextra_files')
NEEDS = "numpy\nPillow==1.0 --hash=sha256:00\nhttps://me:secret@host/a.whl\n-r labels.txt\nnumpy\n"
NEEDED = FILES | {"needs.txt": NEEDS, "extra/labels.txt": "click>=8\n-r needs.txt\n"}


@pytest.fixture
def archive(project: MakeProject) -> Archive:
    return Archive(build(project(NEEDED, WITH_REQUIREMENTS))[0].path)


def bill(archive: Archive) -> Any:
    text = bill_of_materials(archive)
    # Imported here: the grammars of its formats take seconds to compile.
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    return json.loads(text)


def of_type(bill: Any, kind: str) -> dict[str, Any]:
    return {one["name"]: one for one in bill["components"] if one["type"] == kind}


def sha256(component: Any) -> str:
    (found,) = component["hashes"]
    assert found["alg"] == "SHA-256"
    content: str = found["content"]
    return content


def own_properties(component: Any) -> dict[str, str]:
    return {one["name"]: one["value"] for one in component.get("properties", ())}


def test_the_root_is_the_archive_with_its_version_and_sha256(archive: Archive) -> None:
    root = bill(archive)["metadata"]["component"]
    assert (root["type"], root["name"], root["version"]) == (
        "machine-learning-model",
        "tiny",
        "1.0",
    )
    assert sha256(root) == hashlib.sha256(archive.path.read_bytes()).hexdigest()


def test_every_file_is_there_with_its_sha256_and_its_role(archive: Archive) -> None:
    files = of_type(bill(archive), "file")
    with zipfile.ZipFile(archive.path) as opened:
        expected = {
            name: hashlib.sha256(opened.read(name)).hexdigest() for name in opened.namelist()
        }
    assert {name: sha256(one) for name, one in files.items()} == expected
    roles = {name: own_properties(one).get("marsmith:role") for name, one in files.items()}
    assert {name: role for name, role in roles.items() if role} == {
        "tiny_handler.py": "handler",
        "needs.txt": "requirements",
        "model-config.yaml": "model-config",
    }


def test_every_requirement_is_there_with_what_is_known_of_it(archive: Archive) -> None:
    libraries = of_type(bill(archive), "library")
    version = metadata.version("numpy")
    assert sorted(libraries) == ["click", "https://host/a.whl", "numpy", "pillow"]
    assert libraries["numpy"]["version"] == version
    assert libraries["numpy"]["purl"] == f"pkg:pypi/numpy@{version}"
    assert libraries["pillow"]["version"] == "1.0"
    assert "licenses" not in libraries["pillow"]
    (licence,) = libraries["click"]["licenses"]
    assert licence["license"] == {"acknowledgement": "declared", "id": "BSD-3-Clause"}
    assert own_properties(libraries["click"]) == {"marsmith:requirement": "click>=8"}
    assert "version" not in libraries["https://host/a.whl"]


def test_the_root_depends_on_all_parts(archive: Archive) -> None:
    made = bill(archive)
    depends = {one["ref"]: one.get("dependsOn", []) for one in made["dependencies"]}
    assert sorted(depends["archive:tiny"]) == sorted(one["bom-ref"] for one in made["components"])


def test_the_same_archive_gives_the_same_bill_without_date_and_serial_number(
    archive: Archive, tmp_path: Path
) -> None:
    text = bill_of_materials(archive)
    shutil.copy(archive.path, tmp_path / "renamed.mar")
    assert bill_of_materials(Archive(tmp_path / "renamed.mar")) == text
    assert "serialNumber" not in json.loads(text)
    assert "timestamp" not in json.loads(text)["metadata"]
    assert str(tmp_path) not in text
    assert "secret" not in text


def test_the_tools_that_made_it_are_named(archive: Archive) -> None:
    tools = {one["name"]: one for one in bill(archive)["metadata"]["tools"]["components"]}
    assert tools["marsmith"]["version"] == __version__
    assert "cyclonedx-python-lib" in tools


def test_an_archive_without_requirements_has_a_bill_too(project: MakeProject) -> None:
    made = bill(Archive(build(project())[0].path))
    assert of_type(made, "library") == {}
    assert "grüße" not in made
    assert "inner/deep.txt" in of_type(made, "file")


def test_an_unpacked_archive_has_the_same_parts_and_no_digest_of_a_file(
    archive: Archive, tmp_path: Path, temporary_folder: Path
) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    archive.unpack(folder)
    packed, unpacked = bill(archive), bill(Archive(folder))
    assert "hashes" not in unpacked["metadata"]["component"]
    assert unpacked["components"] == packed["components"]
    assert list(temporary_folder.iterdir()) == []


def test_what_is_included_and_is_not_there_is_an_error(project: MakeProject) -> None:
    files = NEEDED | {"needs.txt": "-r ../more.txt\n"}
    archive = Archive(build(project(files, WITH_REQUIREMENTS))[0].path)
    with pytest.raises(ArchiveError, match=r"more\.txt", check=coded("requirements-missing")):
        bill_of_materials(archive)


def test_a_damaged_archive_has_no_bill(archive: Archive, tmp_path: Path) -> None:
    content = archive.path.read_bytes().replace(b"click>=8", b"flask>=8")
    (tmp_path / "tiny.mar").write_bytes(content)
    with pytest.raises(ArchiveError, check=coded("archive-damaged")):
        bill_of_materials(Archive(tmp_path / "tiny.mar"))
