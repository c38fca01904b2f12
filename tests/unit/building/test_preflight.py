"""marsmith/building/preflight.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from marsmith.building.preflight import check_spec
from marsmith.core.findings import Finding, Severity
from marsmith.project.project import Project
from tests.codes import tells
from tests.projects import FILES, HANDLER, MODEL, SPEC, minimal_spec
from tests.unit.conftest import MakeProject, SavedByTorch

WITH_MODEL = 'model_file = "net.py"\nserialized_file = "net.pth"\n'


def errors(project: Project) -> list[Finding]:
    found = check_spec(project, project.spec_file.archives["tiny"])
    return [finding for finding in found if finding.severity is Severity.ERROR]


def error(project: Project) -> Finding:
    (only,) = errors(project)
    return only


def test_the_tiny_project_is_sound(project: MakeProject) -> None:
    tiny = project()
    assert list(check_spec(tiny, tiny.spec_file.archives["tiny"])) == []


def test_an_archive_without_a_sample_is_warned_of(project: MakeProject) -> None:
    tiny = project({"handler.py": HANDLER}, minimal_spec())
    (found,) = check_spec(tiny, tiny.spec_file.archives["tiny"])
    assert (found.rule, found.severity) == ("no-sample", Severity.WARNING)
    assert found.location == "archives.toml:1"


def test_archive_format_is_accepted_with_a_warning(project: MakeProject) -> None:
    tiny = project({"handler.py": HANDLER}, minimal_spec('archive_format = "zip-store"\n'))
    found = list(check_spec(tiny, tiny.spec_file.archives["tiny"]))
    assert [(one.rule, one.severity.value) for one in found] == [
        ("no-sample", "warning"),
        ("unused-key", "warning"),
    ]
    assert found[1].location == "archives.toml:4"


def test_more_workers_than_the_most_are_reported(project: MakeProject) -> None:
    more = "[archives.tiny.serving]\nmaxWorkers = 1\nminWorkers = 2\n"
    found = error(project({"handler.py": HANDLER}, minimal_spec(more)))
    assert (found.rule, found.location) == ("serving-workers", "archives.toml:6")


# ---- files


@pytest.mark.parametrize(
    ("old", "new", "line", "meant"),
    [
        ("handlers/tiny_handler.py", "handlers/tinyhandler.py", 3, "tiny_handler.py"),
        ("handlers/helper.py", "handlers/helpr.py", 5, "helper.py"),
        ("proof/one.bin", "proof/on.bin", 17, "one.bin"),
        ("proof/one.json", "proof/ones.json", 18, "one.json"),
    ],
)
def test_a_missing_file_is_named_with_its_line_and_the_closest(
    project: MakeProject, old: str, new: str, line: int, meant: str
) -> None:
    found = error(project(spec=SPEC.replace(old, new)))
    assert (found.rule, found.location) == ("file", f"archives.toml:{line}")
    assert repr(new) in found.message
    assert repr(meant) in found.hint


def test_a_missing_file_like_no_other_says_where_paths_start(project: MakeProject) -> None:
    found = error(project(spec=SPEC.replace("proof/one.bin", "nowhere/qqq")))
    assert (found.rule, found.location) == ("file", "archives.toml:17")
    assert "'" not in found.hint.replace("project's", "")


@pytest.mark.parametrize("key", ["model_file", "serialized_file", "requirements_file"])
def test_every_single_file_is_looked_for(project: MakeProject, key: str) -> None:
    found = error(project({"handler.py": HANDLER}, minimal_spec(f'{key} = "missing"\n')))
    assert (found.rule, found.location) == ("file", "archives.toml:4")
    assert "'missing'" in found.message


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('request = "proof/one.bin"', 'request = "proof"', 17),
        ("extra_files", 'serialized_file = "extra"\nextra_files', 4),
        ("extra_files", 'model_file = "extra"\nextra_files', 4),
    ],
)
def test_a_folder_is_no_file(project: MakeProject, old: str, new: str, line: int) -> None:
    found = error(project(spec=SPEC.replace(old, new)))
    assert (found.rule, found.location) == ("file", f"archives.toml:{line}")


def test_a_handler_that_is_a_folder_is_reported(project: MakeProject) -> None:
    found = error(project({"pkg.py/x.txt": ""}, minimal_spec(handler="pkg.py")))
    assert (found.rule, found.location) == ("file", "archives.toml:3")


def test_a_wildcard_that_matches_nothing_is_reported(project: MakeProject) -> None:
    found = error(project(spec=SPEC.replace('"extra"', '"extra/*.csv"')))
    assert (found.rule, found.location) == ("file", "archives.toml:6")
    assert "'extra/*.csv'" in found.message


def test_a_wildcard_that_matches_something_is_fine(project: MakeProject) -> None:
    assert errors(project(spec=SPEC.replace('"extra"', '"extra/*.json"'))) == []


@pytest.mark.parametrize("name", ["a,b.txt", "a, b"])
def test_a_comma_in_a_path_is_refused(project: MakeProject, name: str) -> None:
    spec = SPEC.replace('"extra"', f'"{name}"')
    found = error(project(FILES | {name: "x"}, spec))
    assert (found.rule, found.location) == ("file", "archives.toml:6")
    assert repr(name) in found.message


@pytest.mark.parametrize("key", ["model_file", "serialized_file", "requirements_file"])
def test_an_empty_path_is_refused(project: MakeProject, key: str) -> None:
    found = error(project({"handler.py": HANDLER}, minimal_spec(f'{key} = ""\n')))
    assert (found.rule, found.location) == ("file", "archives.toml:4")


def test_an_empty_handler_is_refused(project: MakeProject) -> None:
    found = error(project({}, minimal_spec(handler="")))
    assert (found.rule, found.location) == ("file", "archives.toml:3")


def test_an_empty_extra_file_is_refused(project: MakeProject) -> None:
    found = error(project({"handler.py": HANDLER}, minimal_spec('extra_files = [""]\n')))
    assert (found.rule, found.location) == ("file", "archives.toml:4")


def test_several_problems_are_all_reported(project: MakeProject) -> None:
    spec = SPEC.replace("helper.py", "hlper.py").replace("one.json", "on.json")
    assert [finding.line for finding in errors(project(spec=spec))] == [5, 18]


# ---- collisions


def test_two_files_of_one_basename_collide(project: MakeProject) -> None:
    files = FILES | {"other/labels.json": "{}"}
    found = error(project(files, SPEC.replace('"extra",', '"extra", "other/labels.json"')))
    assert (found.rule, found.location) == ("collision", "archives.toml:6")
    assert "extra/labels.json" in found.message
    assert "other/labels.json" in found.message


@pytest.mark.parametrize(
    "name", ["model-config.yaml", "samples/samples.json", "MAR-INF/MANIFEST.json"]
)
def test_a_file_called_like_one_of_ours_collides(project: MakeProject, name: str) -> None:
    found = error(project(FILES | {f"extra/{name}": "{}"}))
    assert found.rule == "collision"
    assert repr(name) in found.message


def test_two_samples_of_one_basename_collide(project: MakeProject) -> None:
    more = '\n[[archives.tiny.samples]]\nrequest = "more/one.bin"\nresponse = "more/two.json"\n'
    files = FILES | {"more/one.bin": b"x", "more/two.json": "[2]"}
    found = error(project(files, SPEC + more))
    assert (found.rule, found.location) == ("collision", "archives.toml:21")
    assert "'samples/one.bin'" in found.message


def test_the_same_file_named_twice_is_no_collision(project: MakeProject) -> None:
    spec = SPEC.replace('"extra",', '"extra", "extra/labels.json", "./handlers/helper.py"')
    assert errors(project(spec=spec)) == []


def test_a_file_where_another_needs_a_folder_collides(project: MakeProject) -> None:
    spec = SPEC.replace('"extra",', '"data/samples",')
    found = error(project(FILES | {"data/samples": "x"}, spec))
    assert found.rule == "collision"
    assert "samples" in found.message


# ---- handlers


@pytest.mark.parametrize(
    "source",
    [
        HANDLER,
        "def handle(data, context):\n    return data\n",
        "class A: ...\nclass B: ...\ndef handle(data, context): ...\n",
        "from base import handle\n",
        "from base import *\n",
        "handle: object = print\n",
        "\ufeff" + HANDLER,
        "# -*- coding: utf-8 -*-\n" + HANDLER,
    ],
    ids=[
        "one class",
        "a function",
        "a function beside classes",
        "an imported function",
        "whatever an import brings",
        "an annotated name",
        "a byte order mark",
        "a declared encoding",
    ],
)
def test_a_handler_that_torchserve_loads_is_fine(project: MakeProject, source: str) -> None:
    assert errors(project({"handler.py": source}, minimal_spec())) == []


def test_a_handler_of_another_encoding_that_says_so_is_fine(project: MakeProject) -> None:
    source = "# -*- coding: latin-1 -*-\n# grün\n" + HANDLER
    assert errors(project({"handler.py": source.encode("latin-1")}, minimal_spec())) == []


@pytest.mark.parametrize(
    "source",
    ["", "from base import Handler\n", "def predict(data, context): ...\n"],
    ids=["empty", "an imported class", "a function of another name"],
)
def test_a_handler_without_a_class_is_reported(project: MakeProject, source: str) -> None:
    found = error(project({"handler.py": source}, minimal_spec()))
    assert (found.rule, found.location) == ("classes", "handler.py:1")


def test_a_handler_with_several_classes_names_them_on_the_second_ones_line(
    project: MakeProject,
) -> None:
    source = "class A: ...\n\n\nclass B: ...\nclass C: ...\n"
    found = error(project({"handler.py": source}, minimal_spec()))
    assert (found.rule, found.location) == ("classes", "handler.py:4")
    assert "A, B, C" in found.message


def test_an_entry_point_that_is_there_is_fine(project: MakeProject) -> None:
    source = "def predict(data, context): ...\n"
    assert errors(project({"handler.py": source}, minimal_spec(handler="handler.py:predict"))) == []


def test_an_entry_point_that_is_missing_gets_a_suggestion(project: MakeProject) -> None:
    source = "def predict(data, context): ...\n"
    found = error(project({"handler.py": source}, minimal_spec(handler="handler.py:predit")))
    assert found.rule == "handler-function"
    assert "'predict'" in found.hint
    assert (found.file, found.line) == ("archives.toml", 3)


def test_an_entry_point_that_is_a_class_is_reported(project: MakeProject) -> None:
    found = error(project({"handler.py": HANDLER}, minimal_spec(handler="handler.py:TinyHandler")))
    assert (found.rule, found.location) == ("handler-function", "archives.toml:3")


def test_a_class_as_entry_point_beside_others_says_where_those_go(project: MakeProject) -> None:
    source = "class Found: ...\nclass Handler: ...\n"
    found = error(project({"handler.py": source}, minimal_spec(handler="handler.py:Handler")))
    assert (found.rule, found.location) == ("handler-function", "archives.toml:3")
    assert tells(found.hint, "Found")


def test_packages_of_two_folders_are_told_how_to_stay_packages(project: MakeProject) -> None:
    files = {"handler.py": HANDLER, "a/lib/__init__.py": "", "b/tools/__init__.py": ""}
    found = error(project(files, minimal_spec('extra_files = ["a/lib", "b/tools"]\n')))
    assert found.rule == "collision"
    assert 'list "' not in found.hint  # there is no folder around both
    files = {"handler.py": HANDLER, "src/one/__init__.py": "", "src/two/__init__.py": "#"}
    found = error(project(files, minimal_spec('extra_files = ["src/one", "src/two"]\n')))
    assert 'list "src"' in found.hint


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("batchSize: [1", "model-config"),
        ("- batchSize", "model-config"),
        ("", "model-config"),
        ("a: &a [1]\nb: !!python/object:os.system {}", "model-config"),
        ("minWorkers: 3\nmaxWorkers: 2", "serving-workers"),
        (None, "file"),
    ],
)
def test_a_config_file_that_torchserve_could_not_use_is_reported(
    project: MakeProject, content: str | None, rule: str
) -> None:
    files = {"handler.py": HANDLER} | ({} if content is None else {"conf.yaml": content})
    found = error(project(files, minimal_spec('config_file = "conf.yaml"\n')))
    assert (found.rule, found.location) == (rule, "archives.toml:4")


def test_a_config_file_with_other_tools_keys_is_fine(project: MakeProject) -> None:
    files = {"handler.py": HANDLER, "model-config.yaml": "batchSize: 2\npt2: {backend: eager}\n"}
    spec = minimal_spec('config_file = "model-config.yaml"\nserving = { minWorkers = 1 }\n')
    assert errors(project(files, spec)) == []


def test_an_entry_point_like_no_other_gets_a_hint_about_functions(project: MakeProject) -> None:
    files = {"handler.py": "def predict(data, context): ...\n"}
    found = error(project(files, minimal_spec(handler="handler.py:qqq")))
    assert (found.rule, found.location) == ("handler-function", "archives.toml:3")


def test_a_handler_that_is_not_python_is_reported_with_its_line(project: MakeProject) -> None:
    found = error(project({"handler.py": "class A:\n    def f(:\n"}, minimal_spec()))
    assert (found.rule, found.location) == ("syntax", "handler.py:2")


@pytest.mark.parametrize("source", [b"\xff\xfe", b"a = '\x00'\n"], ids=["not UTF-8", "a zero"])
def test_a_handler_that_is_no_text_is_reported(project: MakeProject, source: bytes) -> None:
    found = error(project({"handler.py": source}, minimal_spec()))
    assert (found.rule, found.file) == ("syntax", "handler.py")


@pytest.mark.parametrize(
    ("handler", "meant"),
    [
        ("image_clasifier", "image_classifier"),
        ("handler", "handler.py"),
        ("handler.txt", "handler.py"),
    ],
)
def test_a_handler_that_is_neither_file_nor_default_gets_a_suggestion(
    project: MakeProject, handler: str, meant: str
) -> None:
    found = error(project({"handler.py": HANDLER}, minimal_spec(handler=handler)))
    assert (found.rule, found.location) == ("file", "archives.toml:3")
    assert repr(meant) in found.hint


def test_the_handlers_code_is_not_executed(project: MakeProject, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    source = f"open({str(mark)!r}, 'w').close()\n{HANDLER}"
    assert errors(project({"handler.py": source}, minimal_spec())) == []
    assert not mark.exists()


# ---- model files


def test_a_sound_model_is_fine(project: MakeProject, saved: SavedByTorch) -> None:
    files: dict[str, str | bytes] = {"handler.py": HANDLER, "net.py": MODEL}
    files["net.pth"] = saved.state_dict_zip
    assert errors(project(files, minimal_spec(WITH_MODEL))) == []


@pytest.mark.parametrize(
    ("source", "rule", "line"),
    [
        ("from torch.nn import Linear\n", "classes", 1),
        ("def handle(): ...\n", "classes", 1),
        ("class A: ...\nclass B: ...\n", "classes", 2),
        ("class A(:\n", "syntax", 1),
    ],
    ids=["an imported class", "a function", "two classes", "a syntax error"],
)
def test_a_model_file_needs_exactly_one_class(
    project: MakeProject, source: str, rule: str, line: int
) -> None:
    files = {"handler.py": HANDLER, "net.py": source}
    found = error(project(files, minimal_spec('model_file = "net.py"\n')))
    assert (found.rule, found.location) == (rule, f"net.py:{line}")


# ---- weights


def weights_project(project: MakeProject, content: bytes, more: str = WITH_MODEL) -> Project:
    files: dict[str, str | bytes] = {"handler.py": HANDLER, "net.py": MODEL, "net.pth": content}
    return project(files, minimal_spec(more))


@pytest.mark.parametrize(
    "name", ["state_dict_zip", "state_dict_legacy", "state_dict_zip_protocol_4"]
)
def test_a_state_dict_is_fine_in_every_format(
    project: MakeProject, saved: SavedByTorch, name: str
) -> None:
    assert errors(weights_project(project, getattr(saved, name))) == []


@pytest.mark.parametrize("name", ["module_zip", "module_legacy"])
def test_a_whole_module_is_reported_in_either_format(
    project: MakeProject, saved: SavedByTorch, name: str
) -> None:
    found = error(weights_project(project, getattr(saved, name)))
    assert (found.rule, found.location) == ("weights", "archives.toml:5")
    assert "net.pth" in found.message


@pytest.mark.parametrize("name", ["state_dict_zip", "state_dict_legacy"])
def test_weights_that_are_cut_off_are_reported_in_either_format(
    project: MakeProject, saved: SavedByTorch, name: str
) -> None:
    whole: bytes = getattr(saved, name)
    found = error(weights_project(project, whole[: len(whole) // 2]))
    assert (found.rule, found.location) == ("weights", "archives.toml:5")
    assert "net.pth" in found.message


@pytest.mark.parametrize("more", [WITH_MODEL, 'serialized_file = "net.pth"\n'])
def test_empty_weights_are_reported_with_or_without_a_model_file(
    project: MakeProject, more: str
) -> None:
    found = error(weights_project(project, b"", more))
    assert (found.rule, found.file) == ("weights", "archives.toml")
    assert "net.pth" in found.message


def test_torchscript_needs_no_model_file(project: MakeProject, saved: SavedByTorch) -> None:
    content = saved.torchscript
    assert errors(weights_project(project, content, 'serialized_file = "net.pth"\n')) == []


def test_without_a_model_file_weights_are_the_handlers_own_business(
    project: MakeProject, saved: SavedByTorch
) -> None:
    content = saved.module_zip
    assert errors(weights_project(project, content, 'serialized_file = "net.pth"\n')) == []
