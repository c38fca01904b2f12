"""marsmith/building/writer.py."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from marsmith.archive.manifest import MANIFEST_FILE
from marsmith.building.writer import write_archive
from marsmith.core.errors import BuildError
from marsmith.project.entries import generated
from marsmith.project.project import Project
from tests.projects import FILES, HANDLER, MODEL, SPEC, minimal_spec, write_files
from tests.unit.conftest import MakeProject, SavedByTorch

FULL_SPEC = SPEC.replace(
    "extra_files",
    'model_file = "model_defs/net.py"\nserialized_file = "weights/net.pth"\n'
    'requirements_file = "needs/requirements.txt"\nruntime = "python3"\nextra_files',
)


def build(project: Project) -> Path:
    write_archive(project, project.spec_file.archives["tiny"])
    return project.model_store / "tiny.mar"


def entries(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def manifest(path: Path) -> dict[str, object]:
    values: dict[str, object] = json.loads(entries(path)[MANIFEST_FILE])
    return values


def stock_archive(project: Project, folder: Path) -> Path:
    """Pack what FULL_SPEC says with torch-model-archiver alone, as its users do."""
    spec = project.spec_file.archives["tiny"]
    made = generated(project, spec)
    write_files(
        folder,
        {
            "model-config.yaml": made["model-config.yaml"],
            "proof/samples/samples.json": made["samples/samples.json"],
            "proof/samples/one.bin": FILES["proof/one.bin"],
            "proof/samples/one.json": FILES["proof/one.json"],
        },
    )
    (folder / "tmp").mkdir()
    options = {
        "--model-name": "tiny",
        "--version": "1.0",
        "--handler": spec.handler,
        "--model-file": spec.model_file,
        "--serialized-file": spec.serialized_file,
        "--requirements-file": spec.requirements_file,
        "--config-file": str(folder / "model-config.yaml"),
        "--extra-files": ",".join([*spec.extra_files, str(folder / "proof")]),
        "--runtime": "python3",
        "--export-path": str(folder),
    }
    subprocess.run(
        [sys.executable, "-m", "model_archiver.model_packaging"]
        + [f"{key}={value}" for key, value in options.items()],
        cwd=project.root,
        env=os.environ | {"TMPDIR": str(folder / "tmp")},
        check=True,
        capture_output=True,
    )
    return folder / "tiny.mar"


def test_an_archive_holds_what_torch_model_archiver_packs_for_the_same_inputs(
    project: MakeProject, saved: SavedByTorch, tmp_path: Path
) -> None:
    files = FILES | {
        "model_defs/net.py": MODEL,
        "weights/net.pth": saved.state_dict_zip,
        "needs/requirements.txt": "numpy\n",
    }
    full = project(files, FULL_SPEC)
    ours = build(full)
    stock = stock_archive(full, tmp_path / "stock")
    our_entries, stock_entries = entries(ours), entries(stock)
    our_manifest = json.loads(our_entries.pop(MANIFEST_FILE))
    stock_manifest = json.loads(stock_entries.pop(MANIFEST_FILE))
    assert our_entries == stock_entries
    assert our_manifest == stock_manifest | {"createdOn": "01/01/1980 00:00:00"}


def test_every_entry_is_stored_in_order_of_its_name(project: MakeProject) -> None:
    with zipfile.ZipFile(build(project())) as archive:
        names = archive.namelist()
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.testzip() is None
    assert names == sorted(names)
    assert len(names) == len(set(names)) == 10


def test_everyone_may_read_an_archive_whatever_the_umask(project: MakeProject) -> None:
    before = os.umask(0o077)
    try:
        path = build(project())
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_the_model_store_is_made_and_holds_nothing_else(project: MakeProject) -> None:
    tiny = project()
    build(tiny)
    assert [path.name for path in tiny.model_store.iterdir()] == ["tiny.mar"]


def test_nothing_is_left_in_the_temporary_folder(
    project: MakeProject, temporary_folder: Path
) -> None:
    build(project())
    assert list(temporary_folder.iterdir()) == []


def test_a_default_handler_needs_no_file_of_its_own(
    project: MakeProject, saved: SavedByTorch
) -> None:
    spec = minimal_spec('serialized_file = "net.pt"\n', "image_classifier")
    path = build(project({"net.pt": saved.torchscript}, spec))
    assert sorted(entries(path)) == [MANIFEST_FILE, "net.pt"]
    assert manifest(path)["model"] == {
        "modelName": "tiny",
        "modelVersion": "1.0",
        "handler": "image_classifier",
        "serializedFile": "net.pt",
    }


def test_an_archive_may_hold_nothing_but_its_manifest(project: MakeProject) -> None:
    path = build(project({}, minimal_spec(handler="base_handler")))
    assert sorted(entries(path)) == [MANIFEST_FILE]


def test_a_handler_may_name_its_entry_point(project: MakeProject) -> None:
    """TorchServe's loader takes the function from the manifest (ts/model_loader.py)."""
    source = "def predict(data, context):\n    return data\n"
    path = build(project({"code/own.py": source}, minimal_spec(handler="code/own.py:predict")))
    assert "own.py" in entries(path)
    model = manifest(path)["model"]
    assert isinstance(model, dict)
    assert model["handler"].partition(":")[2] == "predict"


def test_a_name_with_dots_and_dashes_is_the_files_name(project: MakeProject) -> None:
    spec = minimal_spec().replace("tiny", '"a-b.c_1"')
    made = project({"handler.py": HANDLER}, spec)
    write_archive(made, made.spec_file.archives["a-b.c_1"])
    assert (made.model_store / "a-b.c_1.mar").is_file()


@pytest.mark.parametrize("name", ["files", "tmp"])
def test_an_archive_may_be_called_like_a_folder_of_the_stage(
    project: MakeProject, name: str
) -> None:
    made = project({"handler.py": HANDLER}, minimal_spec().replace("tiny", name))
    write_archive(made, made.spec_file.archives[name])
    assert "handler.py" in entries(made.model_store / f"{name}.mar")


def test_a_file_that_torch_model_archiver_drops_is_named(project: MakeProject) -> None:
    spec = minimal_spec('extra_files = ["extra"]\n')
    files = {"handler.py": HANDLER, "extra/__MACOSX/lost.txt": "x"}
    with pytest.raises(BuildError) as caught:
        build(project(files, spec))
    assert "__MACOSX/lost.txt" in caught.value.message


def test_a_file_where_another_needs_a_folder_is_a_build_error(project: MakeProject) -> None:
    """The file `samples` and the folder of the samples cannot both be at the root."""
    spec = SPEC.replace('"extra",', '"data/samples",')
    with pytest.raises(BuildError, match="samples"):
        build(project(FILES | {"data/samples": "x"}, spec))


def test_a_model_store_that_is_a_file_is_named(project: MakeProject) -> None:
    tiny = project()
    tiny.model_store.write_text("in the way")
    with pytest.raises(BuildError) as caught:
        build(tiny)
    assert str(tiny.model_store) in caught.value.message
    assert tiny.model_store.read_text() == "in the way"


def test_a_target_that_is_a_folder_is_named_and_nothing_is_left(project: MakeProject) -> None:
    tiny = project()
    (tiny.model_store / "tiny.mar").mkdir(parents=True)
    with pytest.raises(BuildError) as caught:
        build(tiny)
    assert str(tiny.model_store / "tiny.mar") in caught.value.message
    assert [path.name for path in tiny.model_store.iterdir()] == ["tiny.mar"]
