"""A segmenter and a detector of torchvision's, from an archive to answers."""

from __future__ import annotations

import pytest
import torch

from marsmith.answers.messages import Request
from marsmith.worker.runtime import Runtime
from tests.handlers.asking import decoded
from tests.handlers.torchvision_models import model_folder
from tests.integration.kit import ROOT, Kit

PHOTO = (ROOT / "samples" / "cat.jpg").read_bytes()
SPEC = """
[archives.own]
version = "1.0"
handler = "handlers/own_handler.py"
model_file = "model_defs/own.py"
serialized_file = "weights/own.pth"
[archives.own.handler_config]
longest_side = 96
"""


def build(kit: Kit, name: str, handler: str) -> Runtime:
    """Build an archive of a model with random weights and an empty subclass of a handler."""
    for folder in ("handlers", "model_defs", "weights"):
        (kit.root / folder).mkdir()
    with model_folder(kit.root, name) as model:
        (kit.root / model["modelFile"]).rename(kit.root / "model_defs" / "own.py")
        (kit.root / model["serializedFile"]).rename(kit.root / "weights" / "own.pth")
    module, own = handler.split(".")
    kit.write(
        "handlers/own_handler.py",
        f"from marsmith_handlers.{module} import {own}\n\n\nclass Own({own}):\n    pass\n",
    )
    kit.write("archives.toml", SPEC)
    kit("build")
    return Runtime(kit.root / "model_store" / "own.mar")


def test_a_segmenter(empty: Kit) -> None:
    size = decoded(PHOTO).size
    with build(empty, "lraspp_mobilenet_v3_large", "image_segmenter.ImageSegmenter") as run:
        good, bad = run.predict_batch([Request(PHOTO), Request(b"text")])
        assert (good.status, bad.status) == (200, 400)
        assert (good.json()["width"], good.json()["height"]) == size
        assert sum(one["share"] for one in good.json()["classes"]) == pytest.approx(1, abs=1e-5)
        mask = decoded(run.predict(PHOTO, headers={"Accept": "image/png"}).body)
        assert (mask.size, mask.mode) == (size, "L")


def test_a_detector(empty: Kit) -> None:
    torch.manual_seed(0)
    with build(empty, "ssdlite320_mobilenet_v3_large", "object_detector.ObjectDetector") as run:
        good, bad = run.predict_batch([Request(PHOTO), Request(b"text")])
        assert (good.status, bad.status) == (200, 400)
        assert all(one["score"] >= 0.5 for one in good.json())
        drawn = decoded(run.predict(PHOTO, headers={"Accept": "image/jpeg"}).body)
        assert drawn.size == decoded(PHOTO).size
