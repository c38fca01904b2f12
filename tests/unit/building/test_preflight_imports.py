"""marsmith/building/preflight_imports.py."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from marsmith.building.preflight import check_spec
from marsmith.core.findings import Finding, Severity
from marsmith.project import follow_imports
from marsmith.project.distributions import how_to_provide
from tests.projects import HANDLER, SPEC, minimal_spec
from tests.unit.conftest import MakeProject

FILES = {"lib/__init__.py": "class Net: ...\n", "lib/nets.py": "", "helper.py": ""}


def findings(
    project: MakeProject, source: str, more: str = "", files: Mapping[str, str] | None = None
) -> list[Finding]:
    """Return what is found of a handler that begins with `source`, but for the missing sample."""
    tiny = project(
        {**FILES, **(files or {}), "handler.py": f"{source}\n{HANDLER}"}, minimal_spec(more)
    )
    found = check_spec(tiny, tiny.archives["tiny"])
    return [one for one in found if one.rule != "no-sample"]


def finding(
    project: MakeProject, source: str, more: str = "", files: Mapping[str, str] | None = None
) -> Finding:
    (only,) = findings(project, source, more, files)
    return only


@pytest.mark.parametrize(
    ("source", "meant"),
    [
        ("import json\nfrom lib.nest import Net", "nets"),
        ("\nfrom lib import nest", "nets"),
        ("\nfrom lib import Nets, Net, Next_", "Net"),
        ("\nimport helpr", "helper"),
    ],
)
def test_a_missing_module_of_the_project_is_an_error_with_its_line(
    project: MakeProject, source: str, meant: str
) -> None:
    found = findings(project, source)[0]
    assert (found.rule, found.severity) == ("missing-import", Severity.ERROR)
    assert found.location == "handler.py:2"
    assert repr(meant) in found.hint


def test_a_missing_module_of_a_function_is_an_error_if_its_package_is_there(
    project: MakeProject,
) -> None:
    found = finding(project, "def f():\n    import lib.gone")
    assert (found.rule, found.location) == ("missing-import", "handler.py:2")


def test_a_module_is_no_package(project: MakeProject) -> None:
    found = finding(project, "import helper.deep")
    assert (found.rule, found.location) == ("missing-import", "handler.py:1")
    assert "helper.py" in found.message


def test_what_is_neither_installed_nor_declared_is_warned_of(project: MakeProject) -> None:
    found = finding(project, "import not_there_at_all")
    assert (found.rule, found.severity) == ("missing-import", Severity.WARNING)
    assert found.location == "handler.py:1"
    assert "pip" not in found.hint


def test_the_distribution_of_a_known_module_is_named(project: MakeProject) -> None:
    found = finding(project, "import segmentation_models_pytorch")
    assert found.rule == "missing-import"
    assert "segmentation-models-pytorch" in found.hint


def test_no_distribution_is_guessed_for_a_name_that_many_share() -> None:
    assert "pip install" not in how_to_provide("google.cloud", None)


def test_a_file_elsewhere_in_the_project_is_named(project: MakeProject) -> None:
    found = finding(project, "import tools", files={"handlers/tools.py": ""})
    assert found.rule == "missing-import"
    assert "handlers/tools.py" in found.hint


@pytest.mark.parametrize(
    "source",
    [
        "import torch, torchvision, ts, numpy, PIL.Image, yaml, captum, json",
        "import pytest",
        "try:\n    import helpr, lib.gone\nexcept ImportError: pass",
        "def f():\n    import not_there",
        "if TYPE_CHECKING:\n    import not_there",
        "from lib import Net, nets",
    ],
    ids=["TorchServe's", "installed", "guarded", "lazy", "for type checkers", "there"],
)
def test_an_import_that_need_not_be_in_the_archive_is_fine(
    project: MakeProject, source: str
) -> None:
    assert findings(project, source) == []


@pytest.mark.parametrize("declared", ["not-there\n", "what-holds-that-module\n"])
def test_what_is_declared_is_fine(project: MakeProject, declared: str) -> None:
    more = 'requirements_file = "needs.txt"\n'
    assert findings(project, "import not_there", more, {"needs.txt": declared}) == []


@pytest.mark.parametrize(
    "source", ["import tools", "import tools.deep", "from lib import listed", "import inner"]
)
def test_what_is_listed_is_fine(project: MakeProject, source: str) -> None:
    more = 'extra_files = ["extra"]\n'
    files = {f"extra/{name}.py": "" for name in ("tools", "lib/listed", "path/inner")}
    assert findings(project, source, more, files) == []


def test_a_relative_import_of_the_handler_is_an_error(project: MakeProject) -> None:
    found = finding(project, "\nfrom .utils import seed, sow", files={"utils.py": ""})
    assert (found.rule, found.location) == ("relative-import", "handler.py:2")
    assert "`from utils import seed, sow`" in found.hint
    assert "`import utils`" in finding(project, "from . import utils", files={"utils.py": ""}).hint


def test_a_relative_import_with_another_way_is_fine(project: MakeProject) -> None:
    source = "try:\n    from .utils import a\nexcept ImportError:\n    from utils import a"
    assert findings(project, source, files={"utils.py": ""}) == []


def test_an_imported_file_that_is_no_python_is_an_error(project: MakeProject) -> None:
    found = finding(project, "import helper", files={"helper.py": "\nprint 'old'\n"})
    assert (found.rule, found.location) == ("syntax", "helper.py:2")


def test_missing_handlers_of_the_kit_are_an_error_without_pip(
    project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow_imports, "installed_handlers", lambda: None)
    found = finding(project, "from marsmith_handlers.image_classifier import ImageClassifier")
    assert (found.rule, found.severity) == ("missing-import", Severity.ERROR)
    assert "pip install" not in found.hint


def test_the_kit_itself_is_not_packed(project: MakeProject) -> None:
    found = finding(project, "from marsmith.core import errors")
    assert (found.rule, found.severity) == ("missing-import", Severity.WARNING)
    assert "marsmith_handlers" in found.hint


# ---- extra files that an import brings


def test_a_listed_file_that_an_import_brings_is_told(project: MakeProject) -> None:
    more = 'extra_files = [\n    "lib",\n    "helper.py",\n]\n'
    found = finding(project, "\nimport helper", more)
    assert (found.rule, found.severity) == ("listed-import", Severity.WARNING)
    assert found.location == "archives.toml:6"
    assert "handler.py:2" in found.message
    assert '"helper.py"' in found.hint


def test_another_name_in_the_archive_is_another_file(project: MakeProject) -> None:
    assert findings(project, "import lib.nets, nets", 'extra_files = ["lib/nets.py"]\n') == []


# ---- collisions


def test_two_modules_of_one_name_collide_at_the_import(project: MakeProject) -> None:
    files = {
        "handlers/tiny_handler.py": f"import utils\n{HANDLER}",
        "handlers/utils.py": "",
        "models/net.py": "\nimport utils\nclass Net: ...\n",
        "models/utils.py": "",
    }
    spec = minimal_spec('model_file = "models/net.py"\n', handler="handlers/tiny_handler.py")
    tiny = project(files, spec)
    found = [one for one in check_spec(tiny, tiny.archives["tiny"]) if one.rule != "no-sample"]
    assert [(one.rule, one.location) for one in found] == [("collision", "models/net.py:2")]


def test_equal_basenames_in_packages_do_not_collide(project: MakeProject) -> None:
    files = {f"{name}/{file}.py": "" for name in "ab" for file in ("__init__", "ops")}
    assert findings(project, "from a import ops\nfrom b import ops as other", files=files) == []


def test_the_hint_for_two_packages_works(project: MakeProject) -> None:
    files = {"src/a/__init__.py": "", "src/b/__init__.py": "x = 1"}
    listed = 'extra_files = ["src/a/__init__.py", "src/b/__init__.py"]\n'
    found = findings(project, "import a, b", listed, files)
    assert ['"src"' in one.hint for one in found if one.rule == "collision"] == [True]
    assert findings(project, "import a, b", 'extra_files = ["src"]\n', files) == []


def test_the_tiny_project_lists_no_import(project: MakeProject) -> None:
    tiny = project(spec=SPEC)
    assert list(check_spec(tiny, tiny.archives["tiny"])) == []
