"""LoadModel over a back end of a few lines; real archives are in integration."""

from __future__ import annotations

import asyncio
import json
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from marsmith.answers.messages import Response
from marsmith.archive.reader import Archive
from marsmith.client.description import Model
from marsmith.gateway.backend import Registration
from marsmith.gateway.old_clients.rotation_loading import Loading
from marsmith.gateway.refusals import GatewayError, already_registered
from tests.unit.gateway.backends import Models, model

ANSWER = {"model_degree": 90, "exif_degree": 0, "confidence": 0.9, "success": True}


@dataclass
class Store(Models):
    """Serves `rotation` 1.0; whatever it registers is version 2.0."""

    folder: Path = field(default_factory=Path)

    async def register(self, given: Registration) -> Model:
        if any(one.version == "2.0" for one in self.served):
            raise already_registered("rotation", "2.0")
        self.served.append(replace(model("rotation", "2.0", default=False), url=given.url))
        return self.served[-1]

    def archive(self, model: str, version: str | None = None) -> Archive | None:
        del model, version
        return Archive(self.folder / "next.mar")


def written(folder: Path, text: str) -> None:
    with zipfile.ZipFile(folder / "next.mar", "w") as archive:
        archive.writestr("text", text)


def serving(folder: Path, answer: Any) -> Store:
    written(folder, "first")
    says = Response(200, "OK", {}, json.dumps(answer).encode())
    return Store([model("rotation")], says=says, folder=folder)


def default(store: Store) -> list[str]:
    return [one.version for one in store.served if one.default]


def test_an_archive_that_answers_becomes_the_default_version(tmp_path: Path) -> None:
    store = serving(tmp_path, ANSWER)
    asyncio.run(Loading(store, "rotation").load("next.mar"))
    assert default(store) == ["2.0"]
    assert [call.version for call in store.calls] == ["2.0"]


@pytest.mark.parametrize("answer", [{"label": "7"}, "text", [1]])
def test_an_archive_of_another_kind_is_refused_and_not_kept(tmp_path: Path, answer: Any) -> None:
    store = serving(tmp_path, answer)
    with pytest.raises(GatewayError) as refused:
        asyncio.run(Loading(store, "rotation").load("next.mar"))
    assert refused.value.status == 400
    assert [(one.version, one.default) for one in store.served] == [("1.0", True)]


def test_the_same_bytes_are_loaded_once_and_others_of_the_same_version_are_refused(
    tmp_path: Path,
) -> None:
    store = serving(tmp_path, ANSWER)
    loading = Loading(store, "rotation")
    asyncio.run(loading.load("next.mar"))
    asyncio.run(store.set_default("rotation", "1.0"))
    asyncio.run(loading.load("next.mar"))
    assert default(store) == ["2.0"]
    written(tmp_path, "second")
    with pytest.raises(GatewayError) as refused:
        asyncio.run(loading.load("next.mar"))
    assert (refused.value.code, refused.value.status) == ("already-registered", 409)


def test_a_version_that_was_served_from_the_start_is_known_by_its_copy(tmp_path: Path) -> None:
    store = serving(tmp_path, ANSWER)
    digest = Archive(tmp_path / "next.mar").digest
    url = f"next-{digest[:12]}.mar"
    store.served.append(replace(model("rotation", "2.0", default=False), url=url))
    asyncio.run(Loading(store, "rotation").load("next.mar"))
    assert default(store) == ["2.0"]
