"""What tests of records and leftovers share."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from marsmith.project.project import Project
from marsmith.server.own_folder import OwnFolder
from marsmith.server.state import ServerState
from tests.unit.conftest import MakeProject
from tests.unit.server.states import own_folder, state_in


@pytest.fixture
def tiny(project: MakeProject) -> Project:
    return project()


@pytest.fixture
def folder(temporary_folder: Path) -> Iterator[OwnFolder]:
    with own_folder() as made:
        assert made.path.parent == temporary_folder
        yield made


@pytest.fixture
def state(folder: OwnFolder) -> ServerState:
    return state_in(folder)


@pytest.fixture
def process(folder: OwnFolder) -> Iterator[subprocess.Popen[bytes]]:
    """A process that works in the server's folder, as TorchServe does."""
    with subprocess.Popen(["sleep", "60"], start_new_session=True, cwd=folder.path) as running:
        try:
            yield running
        finally:
            running.kill()
