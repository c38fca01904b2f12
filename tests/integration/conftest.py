"""Real projects and real servers: TorchServe on free ports."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from marsmith.project.project import Project
from marsmith.server.state import running_servers
from marsmith.torchserve.ports import free_ports
from tests.integration.kit import ROOT, Kit, Served, leftovers
from tests.projects import copy_project


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    """The repository's digits, copied; whatever runs in it at the end is stopped."""
    kit = copy_project(tmp_path)
    yield kit
    for state in running_servers(Project(kit.root)):
        kit("stop", "--port", state.port)


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Kit]:
    """A project with nothing but the repository's config.properties."""
    shutil.copy(ROOT / "config.properties", tmp_path)
    (tmp_path / "archives.toml").touch()
    yield Kit(tmp_path)
    assert leftovers(str(tmp_path)) == []


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server of the repository's archives for all tests that only ask."""
    kit = copy_project(tmp_path_factory.mktemp("served"), only_digits=False)
    kit("build")
    port = free_ports(5)
    kit("serve", "--background", "--port", port)
    yield Served(kit, port)
    kit("stop", "--port", port)
