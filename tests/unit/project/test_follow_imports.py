"""marsmith/project/follow_imports.py, and what it is made of: find_modules.py, read_module.py."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from marsmith.project import follow_imports
from marsmith.project.entries import entries, following
from marsmith.project.find_modules import installed_handlers
from marsmith.project.project import Project
from tests.projects import minimal_spec
from tests.unit.conftest import MakeProject

HANDLER = "handlers/h.py"
IN_FOLDERS = minimal_spec('model_file = "models/net.py"\n', handler=HANDLER)


def brought(project: Project) -> dict[str, str]:
    """Return what imports bring: name in the archive → the project's file."""
    found = entries(project, project.spec_file.archives["tiny"])
    return {one.name: one.source for one in found if one.importer}


def unfound(project: Project) -> list[tuple[str, str, int]]:
    found = following(project, project.spec_file.archives["tiny"]).unfound
    return [(one.module, one.importer.name, one.by.line) for one in found]


def test_a_module_beside_the_handler_comes_along(project: MakeProject) -> None:
    files = {HANDLER: "import os\nimport helper\n", "handlers/helper.py": ""}
    tiny = project({**files, "models/net.py": ""}, IN_FOLDERS)
    (entry,) = (one for one in entries(tiny, tiny.archives["tiny"]) if one.importer)
    assert (entry.name, entry.source) == ("helper.py", "handlers/helper.py")
    assert entry.reason == "imported by handlers/h.py:2"


def test_imports_are_followed_to_the_end_and_in_circles(project: MakeProject) -> None:
    files = {HANDLER: "import a", "handlers/a.py": "import b", "handlers/b.py": "import a, h"}
    assert brought(project(files, IN_FOLDERS)) == {"a.py": "handlers/a.py", "b.py": "handlers/b.py"}


def test_lazy_ones_are_followed_and_those_for_type_checkers_are_not(project: MakeProject) -> None:
    source = "def f():\n  import lazy\ntry:\n  import tried\nexcept ImportError: pass\n"
    source += "if TYPE_CHECKING:\n  import typed\n__import__('called')\n"
    files = {f"handlers/{name}.py": "" for name in ("lazy", "tried", "typed", "called")}
    tiny = project({HANDLER: source, **files}, IN_FOLDERS)
    assert sorted(brought(tiny)) == ["called.py", "lazy.py", "tried.py"]


def test_the_models_folder_and_the_projects_root_are_looked_in(project: MakeProject) -> None:
    files = {
        HANDLER: "import layers\nfrom mylib.nets import Net\n",
        "models/net.py": "import helper\n",
        "models/layers.py": "",
        "handlers/helper.py": "",
        "mylib/__init__.py": "",
        "mylib/nets.py": "from . import ops\n",
        "mylib/ops.py": "",
        "mylib/unused.py": "",
    }
    assert brought(project(files, IN_FOLDERS)) == {
        "layers.py": "models/layers.py",
        "helper.py": "handlers/helper.py",
        "mylib/__init__.py": "mylib/__init__.py",
        "mylib/nets.py": "mylib/nets.py",
        "mylib/ops.py": "mylib/ops.py",
    }


def test_beside_comes_before_the_root(project: MakeProject) -> None:
    files = {HANDLER: "import helper", "handlers/helper.py": "", "helper.py": ""}
    assert brought(project(files, IN_FOLDERS)) == {"helper.py": "handlers/helper.py"}


def test_a_package_looks_for_others_where_it_stands_itself(project: MakeProject) -> None:
    files = {
        HANDLER: "import lib.deep.one",
        "handlers/lib/__init__.py": "",
        "handlers/lib/deep/__init__.py": "from ..two import x",
        "handlers/lib/deep/one.py": "import other",
        "handlers/lib/two.py": "",
        "handlers/other/__init__.py": "",
        "other.py": "",
    }
    names = ["lib/__init__.py", "lib/deep/__init__.py", "lib/deep/one.py", "lib/two.py"]
    assert sorted(brought(project(files, IN_FOLDERS))) == [*names, "other/__init__.py"]


def test_a_handler_in_a_package_finds_that_package(project: MakeProject) -> None:
    files = {"lib/kit/__init__.py": "", "lib/kit/h.py": "from kit.tools import x"}
    tiny = project({**files, "lib/kit/tools.py": ""}, minimal_spec(handler="lib/kit/h.py"))
    assert brought(tiny) == {
        "kit/__init__.py": "lib/kit/__init__.py",
        "kit/tools.py": "lib/kit/tools.py",
    }


@pytest.mark.parametrize("source", ["import ns.a", "from ns import a", "from ns.a import x"])
def test_a_module_in_a_folder_without_init_is_found(project: MakeProject, source: str) -> None:
    tiny = project({HANDLER: source, "ns/a.py": "", "ns/b.py": ""}, IN_FOLDERS)
    assert (brought(tiny), unfound(tiny)) == ({"ns/a.py": "ns/a.py"}, [])


@pytest.mark.parametrize("source", ["import data", "import data.x", "from data import x"])
def test_a_bare_folder_is_no_module(project: MakeProject, source: str) -> None:
    tiny = project({HANDLER: source, "data/labels.txt": ""}, IN_FOLDERS)
    assert brought(tiny) == {}
    assert [line for _, _, line in unfound(tiny)] == [1]


def test_a_name_of_a_package_may_be_a_module_or_not(project: MakeProject) -> None:
    files = {HANDLER: "from lib import a, B, gone", "lib/__init__.py": "class B: ..."}
    tiny = project({**files, "lib/a.py": ""}, IN_FOLDERS)
    assert sorted(brought(tiny)) == ["lib/__init__.py", "lib/a.py"]
    assert unfound(tiny) == [("lib.gone", "h.py", 1)]


@pytest.mark.parametrize(
    "more", ["from os import *", "def __getattr__(name): ...", "__path__ += []"]
)
def test_a_package_may_have_names_that_nobody_sees(project: MakeProject, more: str) -> None:
    tiny = project({HANDLER: "from lib import x", "lib/__init__.py": more}, IN_FOLDERS)
    assert (sorted(brought(tiny)), unfound(tiny)) == (["lib/__init__.py"], [])


def test_a_star_brings_the_package_and_what_its_all_lists(project: MakeProject) -> None:
    files = {HANDLER: "from lib import *", "lib/__init__.py": "__all__ = ['a', 'x']\nx = 1"}
    tiny = project({**files, "lib/a.py": "", "lib/b.py": ""}, IN_FOLDERS)
    assert (sorted(brought(tiny)), unfound(tiny)) == (["lib/__init__.py", "lib/a.py"], [])


def test_what_a_package_lacks_is_told_with_file_and_line(project: MakeProject) -> None:
    files = {HANDLER: "import lib.nets.unet", "lib/__init__.py": "\nfrom .gone import x"}
    tiny = project({**files, "lib/nets.py": ""}, IN_FOLDERS)
    assert unfound(tiny) == [("lib.nets.unet", "h.py", 1), ("lib.gone", "lib/__init__.py", 2)]


def test_the_standard_library_is_never_looked_for(project: MakeProject) -> None:
    tiny = project({HANDLER: "import random, os.path", "random.py": ""}, IN_FOLDERS)
    assert (brought(tiny), unfound(tiny)) == ({}, [])


def test_an_installed_package_is_never_followed(project: MakeProject) -> None:
    tiny = project({HANDLER: "import pytest, numpy.linalg"}, IN_FOLDERS)
    assert brought(tiny) == {}
    assert [module for module, _, _ in unfound(tiny)] == ["pytest", "numpy.linalg"]


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment that holds marsmith_handlers and another package."""
    folder = tmp_path / "site-packages"
    (folder / "marsmith_handlers").mkdir(parents=True)
    (folder / "marsmith_handlers/__init__.py").write_text("")
    (folder / "marsmith_handlers/base.py").write_text("import other\nfrom . import codec")
    (folder / "marsmith_handlers/codec.py").write_text("")
    (folder / "other.py").write_text("")
    monkeypatch.setattr(follow_imports, "installed_handlers", lambda: folder)
    return folder


def test_the_installed_handlers_come_along_and_nothing_else_of_the_environment(
    project: MakeProject, environment: Path
) -> None:
    tiny = project({HANDLER: "from marsmith_handlers.base import Base"}, IN_FOLDERS)
    names = ["__init__.py", "base.py", "codec.py"]
    assert (environment / "marsmith_handlers" / "base.py").exists()
    # Where the environment lies says nothing to a reader.
    assert brought(tiny) == {f"marsmith_handlers/{n}": f"marsmith_handlers/{n}" for n in names}
    assert [module for module, _, _ in unfound(tiny)] == ["other"]


@pytest.mark.usefixtures("environment")
def test_a_copy_of_the_handlers_in_the_project_comes_first(project: MakeProject) -> None:
    own = {"handlers/marsmith_handlers/__init__.py": "", "handlers/marsmith_handlers/mine.py": ""}
    tiny = project({HANDLER: "from marsmith_handlers import mine, base", **own}, IN_FOLDERS)
    assert sorted(brought(tiny)) == ["marsmith_handlers/__init__.py", "marsmith_handlers/mine.py"]
    assert unfound(tiny) == [("marsmith_handlers.base", "h.py", 1)]


def test_the_installed_handlers_are_found_without_an_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "marsmith_handlers").mkdir()
    (tmp_path / "marsmith_handlers/__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "marsmith_handlers", raising=False)  # of tests before
    assert installed_handlers() == tmp_path


def test_a_listed_python_file_brings_what_it_imports(project: MakeProject) -> None:
    files = {
        HANDLER: "",
        "plugins/p.py": "import helper\nfrom .x import y",
        "plugins/helper.py": "",
    }
    spec = minimal_spec('extra_files = ["plugins/p.py"]\n', handler=HANDLER)
    tiny = project(files, spec)
    assert brought(tiny) == {"helper.py": "plugins/helper.py"}
    assert following(tiny, tiny.archives["tiny"]).outside == []


@pytest.mark.parametrize("source", ["def f(:", b"\xff", "a = '\x00'"])
def test_a_file_that_is_no_python_is_told(project: MakeProject, source: str | bytes) -> None:
    tiny = project({HANDLER: "import a\nimport b", "handlers/a.py": source}, IN_FOLDERS)
    ((module, why),) = following(tiny, tiny.archives["tiny"]).not_python
    assert (module.name, why.line) == ("a.py", 1)


def test_a_changed_file_is_read_anew(project: MakeProject) -> None:
    tiny = project({HANDLER: "import a", "handlers/a.py": "", "handlers/b.py": ""}, IN_FOLDERS)
    assert sorted(brought(tiny)) == ["a.py"]
    (tiny.root / "handlers/a.py").write_text("import b")
    assert sorted(brought(tiny)) == ["a.py", "b.py"]
