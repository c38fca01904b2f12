"""marsmith/project/entries.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from marsmith.project.entries import Listed, contents, entries, generated, listing, matches
from marsmith.project.project import Project
from tests.projects import FILES, minimal_spec, write_files
from tests.unit.conftest import MakeProject


def names(project: Project) -> list[str]:
    return sorted(one.name for one in entries(project, project.spec_file.archives["tiny"]))


def test_files_land_at_the_root_by_their_basename_and_folders_are_emptied(
    project: MakeProject,
) -> None:
    assert names(project()) == [
        "empty.txt",
        "helper.py",
        "inner/deep.txt",
        "labels.json",
        "samples/one.bin",
        "samples/one.json",
        "tiny_handler.py",
    ]


def test_each_entry_knows_its_file_and_what_brings_it(project: MakeProject) -> None:
    tiny = project()
    found = {one.name: one for one in entries(tiny, tiny.spec_file.archives["tiny"])}
    deep, helper = found["inner/deep.txt"], found["helper.py"]
    assert (deep.source, deep.file) == ("extra/inner/deep.txt", tiny.root / "extra/inner/deep.txt")
    assert (deep.reason, deep.key) == ("extra_files", ("extra_files", 1))
    assert (helper.source, helper.file) == ("handlers/helper.py", tiny.root / "handlers/helper.py")
    assert found["tiny_handler.py"].reason == "handler"
    assert found["samples/one.bin"].key == ("samples", 0, "request")


def test_model_weights_and_requirements_are_among_the_files(project: MakeProject) -> None:
    more = 'model_file = "a/m.py"\nserialized_file = "b/w.pt"\nrequirements_file = "c/r.txt"\n'
    assert names(project({}, minimal_spec(more))) == ["handler.py", "m.py", "r.txt", "w.pt"]


def test_caches_and_hidden_files_of_a_folder_stay_out(project: MakeProject) -> None:
    tiny = project()
    before = names(tiny)
    write_files(
        tiny.root / "extra",
        {
            "__pycache__/a.cpython-311.pyc": b"x",
            "inner/__pycache__/b.py": "",
            ".git/config": "",
            ".env": "SECRET=1",
            "inner/.DS_Store": b"x",
            "old.pyc": b"x",
            "old.pyo": b"x",
        },
    )
    assert names(tiny) == before


def test_a_hidden_file_that_is_named_is_wanted(project: MakeProject) -> None:
    tiny = project({".hidden": ""}, minimal_spec('extra_files = [".hidden"]\n'))
    assert names(tiny) == [".hidden", "handler.py"]


def test_wildcards_match_in_order_and_relative_to_the_root(
    project: MakeProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = project({"data/b.txt": "", "data/a.txt": "", "data/c.json": "", "other.txt": ""})
    monkeypatch.chdir(tmp_path)
    assert matches(tiny, "data/*.txt") == [tiny.root / "data/a.txt", tiny.root / "data/b.txt"]
    assert matches(tiny, "data/?.json") == [tiny.root / "data/c.json"]
    assert matches(tiny, "data/[ab].txt") == matches(tiny, "data/*.txt")
    assert matches(tiny, "nothing*") == []
    assert matches(tiny, "data/missing") == [tiny.root / "data/missing"]


def test_a_spec_without_tables_generates_nothing(project: MakeProject) -> None:
    tiny = project({}, minimal_spec())
    assert generated(tiny, tiny.spec_file.archives["tiny"]) == {}


def test_the_tables_become_files(project: MakeProject) -> None:
    tiny = project()
    files = generated(tiny, tiny.spec_file.archives["tiny"])
    assert sorted(files) == ["model-config.yaml", "samples/samples.json"]
    assert yaml.safe_load(files["model-config.yaml"]) == {
        "minWorkers": 1,
        "batchSize": 4,
        "handler_config": {"size": [28, 28]},
    }
    assert json.loads(files["samples/samples.json"]) == [
        {
            "request": "samples/one.bin",
            "response": "samples/one.json",
            "tolerance": 1e-3,
            "largest": 0.25,
        }
    ]


def test_the_order_of_keys_in_a_table_does_not_reach_the_file(project: MakeProject) -> None:
    tables = "[archives.tiny.handler_config]\n"
    one = project({}, minimal_spec(tables + "a = 1\nb = 2\n"), "one")
    other = project({}, minimal_spec(tables + "b = 2\na = 1\n"), "other")
    first, second = (generated(each, each.spec_file.archives["tiny"]) for each in (one, other))
    assert first == second


CONFIG = "# ours\nbatchSize: 2\npt2: {compile: {enable: true}}\nhandler_config: {a: 1, b: 2}\n"


def test_a_config_file_alone_stays_as_it_is_written(project: MakeProject) -> None:
    tiny = project({"conf/prod.yml": CONFIG}, minimal_spec('config_file = "conf/prod.yml"\n'))
    spec = tiny.spec_file.archives["tiny"]
    assert generated(tiny, spec) == {}
    assert contents(tiny, spec)["model-config.yaml"] == tiny.root / "conf/prod.yml"


def test_tables_replace_the_values_of_a_config_file_and_keep_the_others(
    project: MakeProject,
) -> None:
    tables = """config_file = "model-config.yaml"
serving = { batchSize = 8 }
handler_config = { b = 3 }
"""
    tiny = project({"model-config.yaml": CONFIG}, minimal_spec(tables))
    content = contents(tiny, tiny.spec_file.archives["tiny"])["model-config.yaml"]
    assert isinstance(content, bytes)
    assert yaml.safe_load(content) == {
        "batchSize": 8,
        "pt2": {"compile": {"enable": True}},
        "handler_config": {"a": 1, "b": 3},
    }


def test_contents_are_files_and_generated_bytes(project: MakeProject) -> None:
    tiny = project()
    found = contents(tiny, tiny.spec_file.archives["tiny"])
    assert found["helper.py"] == tiny.root / "handlers/helper.py"
    assert isinstance(found["model-config.yaml"], bytes)
    assert len(found) == 9


def test_a_linked_folder_is_followed_as_torch_model_archiver_does(project: MakeProject) -> None:
    tiny = project(FILES | {"elsewhere/linked.txt": "x"})
    (tiny.root / "extra/link").symlink_to(tiny.root / "elsewhere")
    assert "link/linked.txt" in names(tiny)


def test_a_link_that_leads_in_a_circle_ends(project: MakeProject) -> None:
    tiny = project()
    (tiny.root / "extra/circle").symlink_to(tiny.root / "extra")
    assert "labels.json" in names(tiny)


def test_the_listing_holds_every_file_once_with_all_that_brings_it(project: MakeProject) -> None:
    helped = {"handlers/tiny_handler.py": "import helper\n", "handlers/helper.py": ""}
    tiny = project(FILES | helped)
    spec = tiny.spec_file.archives["tiny"]
    found = {one.name: one for one in listing(tiny, spec)}
    assert sorted(found) == sorted([*contents(tiny, spec), "MAR-INF/MANIFEST.json"])
    reason = "extra_files, imported by handlers/tiny_handler.py:1"
    assert found["helper.py"] == Listed("helper.py", "handlers/helper.py", reason)
    assert found["model-config.yaml"] == Listed("model-config.yaml", None, "written by build")
