"""marsmith/check/modules.py: the archive's files that an import leads to."""

from __future__ import annotations

from pathlib import Path

import pytest

from marsmith.check.modules import Module, follow, is_own
from tests.unit.check.archives import subject

FILES: dict[str, str | bytes] = {
    "h.py": "import a.b, torch\nimport c\n",
    "a/__init__.py": "",
    "a/b.py": "import a.lone\nimport h\n",  # a circle
    "a/lone.py": "",
    "c.py": "",
    "unused.py": "import nothing",
}


def test_imports_are_followed_once_each(tmp_path: Path) -> None:
    modules: dict[str, Module] = {}
    assert list(follow(subject(tmp_path, FILES), ["h.py"], modules)) == []
    assert modules.keys() == FILES.keys() - {"unused.py"}
    assert {name for one in modules["h.py"].imports for name in one.modules} >= {"a.b", "torch"}


@pytest.mark.parametrize(
    ("content", "line"), [("x = (\n", 1), ("\n\nx = = 1\n", 3), (b"\x00", None), (b"\xff", None)]
)
def test_a_file_that_is_no_python_is_found_where_it_breaks(
    tmp_path: Path, content: str | bytes, line: int | None
) -> None:
    modules: dict[str, Module] = {}
    (found,) = follow(subject(tmp_path, {**FILES, "c.py": content}), ["h.py"], modules)
    assert (found.rule, found.file, found.presumed) == ("syntax", "m.mar/c.py", True)
    assert line is None or found.line == line
    assert "c.py" not in modules


def test_a_broken_file_is_found_once_however_often_it_is_imported(tmp_path: Path) -> None:
    files = {**FILES, "c.py": "x = (\n", "model.py": "from c import d\n"}
    found = [*follow(subject(tmp_path, files), ["h.py", "model.py"], {})]
    assert [(one.rule, one.file) for one in found] == [("syntax", "m.mar/c.py")]


@pytest.mark.parametrize(
    ("name", "own"),
    [("a", True), ("a.x", True), ("c", True), ("lone", True), ("torch", False), ("d", False)],
)
def test_a_module_may_lie_in_any_folder(tmp_path: Path, name: str, own: bool) -> None:
    assert is_own(subject(tmp_path, FILES), name) is own
