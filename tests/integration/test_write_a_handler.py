"""docs/write-a-handler.md: each example is built and answers, as it stands in the page."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import torch

from marsmith.answers.messages import Response
from marsmith.worker.runtime import Runtime
from tests.handlers.asking import decoded
from tests.integration.kit import ROOT, Kit

PHOTO = (ROOT / "samples" / "cat.jpg").read_bytes()
PAGE = (ROOT / "docs" / "write-a-handler.md").read_text("utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def sections() -> dict[str, dict[str, str]]:
    """Return the files of each example, by the name of its archive."""
    found = {}
    for part in PAGE.split("\n## "):
        files = {}
        for language, text in BLOCK.findall(part):
            name = (
                "model_defs/index_to_name.json" if language == "json" else text[2:].split("\n")[0]
            )
            files[name] = text
        if "archives.toml" in files:
            (archive,) = re.findall(r"^\[archives\.(\w+)\]$", files["archives.toml"], re.MULTILINE)
            found[archive] = files
    return found


SECTIONS = sections()


def weights_of(folder: Path, archive: str) -> None:
    """Save random weights of an example's model."""
    sys.path.insert(0, str(folder / "model_defs"))
    try:
        torch.manual_seed(0)
        model = getattr(__import__(archive), archive.title())()
        (folder / "weights").mkdir(exist_ok=True)
        torch.save(model.state_dict(), folder / "weights" / f"{archive}.pth")
    finally:
        sys.path.remove(str(folder / "model_defs"))
        sys.modules.pop(archive, None)


@pytest.fixture
def archive(request: pytest.FixtureRequest, empty: Kit) -> Path:
    """Build an example in a folder of its own."""
    name: str = request.param
    for path, text in SECTIONS[name].items():
        empty.write(path, text)
    weights_of(empty.root, name)
    empty("build")
    return empty.root / "model_store" / f"{name}.mar"


def asked(run: Runtime, accept: str | None = None) -> Response:
    """Send a photo, which must be answered."""
    response = run.predict(PHOTO, headers={"Accept": accept} if accept else {})
    assert response.status == 200, response.body
    return response


def test_the_page_has_three_examples() -> None:
    assert list(SECTIONS) == ["flowers", "roads", "faces"]


@pytest.mark.parametrize("archive", ["flowers"], indirect=True)
def test_the_classifier(archive: Path) -> None:
    with Runtime(archive) as run:
        answer = asked(run).json()
        assert answer["label"] == ["daisy", "rose", "tulip"][answer["index"]]
        assert answer["probabilities"].keys() == {"daisy", "rose", "tulip"}


@pytest.mark.parametrize("archive", ["roads"], indirect=True)
def test_the_mask(archive: Path) -> None:
    size = decoded(PHOTO).size
    with Runtime(archive) as run:
        answer = asked(run).json()
        assert (answer["width"], answer["height"]) == size
        assert sum(one["share"] for one in answer["classes"]) == pytest.approx(1, abs=1e-5)
        mask = decoded(asked(run, "image/png").body)
        assert (mask.size, mask.mode) == (size, "L")
        over = decoded(asked(run, "image/jpeg").body)
        assert over.size == size


@pytest.mark.parametrize("archive", ["faces"], indirect=True)
def test_the_boxes(archive: Path) -> None:
    width, height = decoded(PHOTO).size
    with Runtime(archive) as run:
        (found,) = json.loads(asked(run).body)
        left, top, right, bottom = found["box"]
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert (found["label"], found["index"]) == ("1", 1)
        drawn = decoded(asked(run, "image/jpeg").body)
        assert drawn.size == (width, height)
