"""What `import marsmith` offers, and what it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import marsmith
from marsmith.client.http import Client
from marsmith.project.project import Project
from marsmith.server.lookup import connect
from marsmith.worker.runtime import Runtime


def test_the_names_are_those_of_their_modules() -> None:
    assert (marsmith.Client, marsmith.Project) == (Client, Project)
    assert (marsmith.Runtime, marsmith.connect) == (Runtime, connect)
    assert set(marsmith.__all__) <= set(dir(marsmith))


def test_other_names_are_unknown() -> None:
    with pytest.raises(AttributeError):
        marsmith.Client_  # noqa: B018


def test_the_package_itself_imports_nothing_else() -> None:
    code = "import sys, marsmith; print([n for n in sys.modules if n.startswith('marsmith')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['marsmith']\n"
