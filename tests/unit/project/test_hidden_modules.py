"""marsmith/project/hidden_modules.py: files that take the place of other modules."""

from __future__ import annotations

import pytest

from marsmith.core.findings import Severity
from marsmith.project.hidden_modules import hidden_by


@pytest.mark.parametrize(
    "entry",
    [
        "random.py",
        "json/__init__.py",
        "logging.pyc",
        "socket.cpython-311-x86_64-linux-gnu.so",
        "select.abi3.so",
    ],
)
def test_pythons_own_modules_may_not_be_hidden(entry: str) -> None:
    found = hidden_by(entry, entry)
    assert found is not None
    assert (found.rule, found.severity) == ("shadows-library", Severity.ERROR)


@pytest.mark.parametrize("entry", ["yaml.py", "numpy.py", "PIL.py"])
def test_hidden_libraries_are_a_warning(entry: str) -> None:
    found = hidden_by(entry, entry)
    assert found is not None
    assert (found.rule, found.severity) == ("shadows-library", Severity.WARNING)


@pytest.mark.parametrize(
    "entry", ["handler.py", "own/random.py", "json/decoder.py", "random.txt", "yaml/__init__.py"]
)
def test_other_files_hide_nothing(entry: str) -> None:
    assert hidden_by(entry, entry) is None
