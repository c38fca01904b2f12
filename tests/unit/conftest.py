"""Fixtures that several unit tests share."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from marsmith.project.project import Project
from tests.projects import SPEC, make_project
from tests.unit.answering import Server, answering


class MakeProject(Protocol):
    """Writes a project into the test's own folder; `files` default to the tiny project's."""

    def __call__(
        self,
        files: Mapping[str, str | bytes] | None = None,
        spec: str = SPEC,
        folder: str = "project",
    ) -> Project: ...


@pytest.fixture
def project(tmp_path: Path) -> MakeProject:
    """Return a function that writes a project and returns it."""

    def make(
        files: Mapping[str, str | bytes] | None = None,
        spec: str = SPEC,
        folder: str = "project",
    ) -> Project:
        return make_project(tmp_path / folder, files, spec)

    return make


@pytest.fixture(autouse=True)
def no_outside_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what a developer's shell says out of the tests."""
    for name in ("MARSMITH_DEBUG", "JAVA_HOME", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@dataclass(frozen=True)
class SavedByTorch:
    """Files as PyTorch writes them, in its zip format and its legacy one."""

    state_dict_zip: bytes
    state_dict_legacy: bytes
    state_dict_zip_protocol_4: bytes
    state_dict_legacy_protocol_4: bytes
    module_zip: bytes
    module_legacy: bytes
    torchscript: bytes


@pytest.fixture(scope="session")
def saved() -> SavedByTorch:
    """Weights of a tiny network with tensors of two types, saved in every way there is."""
    import torch

    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))

    def save(value: Any, **options: Any) -> bytes:
        file = io.BytesIO()
        torch.save(value, file, **options)
        return file.getvalue()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript is on its way out
        script = io.BytesIO()
        torch.jit.save(torch.jit.script(net), script)
    return SavedByTorch(
        state_dict_zip=save(net.state_dict()),
        state_dict_legacy=save(net.state_dict(), _use_new_zipfile_serialization=False),
        state_dict_zip_protocol_4=save(net.state_dict(), pickle_protocol=4),
        state_dict_legacy_protocol_4=save(
            net.state_dict(), _use_new_zipfile_serialization=False, pickle_protocol=4
        ),
        module_zip=save(net),
        module_legacy=save(net, _use_new_zipfile_serialization=False),
        torchscript=script.getvalue(),
    )


@pytest.fixture
def server() -> Iterator[Server]:
    """An HTTP server that answers as it is told to."""
    with answering() as running:
        yield running
