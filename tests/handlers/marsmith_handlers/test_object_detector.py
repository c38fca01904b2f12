"""Boxes: where they are, how they are drawn, and torchvision's detectors as they are."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from marsmith_handlers.object_detector import ObjectDetector
from PIL import Image

from tests.handlers.asking import Computed, ask, decoded, encoded, let_load, start
from tests.handlers.torchvision_models import DETECTORS, model_folder

CONFIG: dict[str, Any] = {"longest_side": 100}


def light_parts(images: list[Any]) -> list[dict[str, Any]]:
    """Find the light part of each image, surely, and all of it, less surely."""
    found = []
    for image in images:
        rows, columns = np.nonzero(image.mean(axis=0) > 0.5)
        height, width = image.shape[1:]
        boxes, labels, scores = [[0, 0, width, height]], [2], [0.4]
        if len(rows):
            boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            labels, scores = [2, 1], [0.4, 0.9]
        found.append(
            {
                "boxes": np.array(boxes, np.float32),
                "labels": np.array(labels),
                "scores": np.array(scores, np.float32),
            }
        )
    return found


def patch_of_light(width: int, height: int, box: tuple[int, int, int, int]) -> Image.Image:
    image = Image.new("RGB", (width, height), "black")
    image.paste("white", box)
    return image


def detector(patch: pytest.MonkeyPatch, folder: Path, **config: Any) -> Any:
    let_load(patch, Computed(light_parts))
    (folder / "index_to_name.json").write_text(json.dumps({"1": "lamp", "2": "night"}))
    return start(ObjectDetector(), config=CONFIG | config, folder=folder)


def test_boxes_are_in_pixels_of_the_picture_that_came_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    handler = detector(monkeypatch, tmp_path)
    small = patch_of_light(80, 60, (20, 10, 50, 40))
    large = patch_of_light(800, 400, (200, 80, 400, 160))
    one, other, none = ask(handler, encoded(small), encoded(large), encoded(Image.new("L", (9, 9))))
    assert one.json() == [{"box": [20, 10, 50, 40], "label": "lamp", "index": 1, "score": 0.9}]
    assert other.json()[0]["box"] == pytest.approx([200, 80, 400, 160], abs=9)
    assert none.json() == []


def test_the_threshold_decides_and_the_surest_comes_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    handler = detector(monkeypatch, tmp_path, threshold=0.3)
    (reply,) = ask(handler, encoded(patch_of_light(80, 60, (20, 10, 50, 40))))
    assert [(one["label"], one["score"]) for one in reply.json()] == [("lamp", 0.9), ("night", 0.4)]
    assert reply.json()[1]["box"] == [0, 0, 80, 60]


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_the_picture_comes_back_with_its_boxes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    handler = detector(monkeypatch, tmp_path)
    image = patch_of_light(1200, 900, (300, 300, 900, 600))
    (reply,) = ask(handler, encoded(image), accept=f"image/{kind}")
    drawn = decoded(reply.body)
    assert (drawn.format, drawn.size) == (kind.upper(), (1200, 900))
    changed = np.abs(np.asarray(drawn).astype(int) - np.asarray(image)).max(axis=2) > 60
    rows, columns = np.nonzero(changed)
    assert 285 <= columns.min() <= 305
    assert 590 <= rows.max() <= 615
    assert rows.min() < 300  # the label stands above its box


def test_mixed_pictures_share_a_batch_and_a_bad_one_costs_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    handler = detector(monkeypatch, tmp_path)
    image = patch_of_light(80, 60, (20, 10, 50, 40))
    turned = Image.Exif()
    turned[0x0112] = 6
    deep = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) << 8)
    bodies = [
        encoded(image.convert("L")),
        encoded(image.convert("RGBA")),
        b"text",
        encoded(image.convert("CMYK"), "TIFF"),
        encoded(deep),
        encoded(image, "PNG", exif=turned),
    ]
    replies = ask(handler, *bodies)
    assert [reply.status for reply in replies] == [200, 200, 400, 200, 200, 200]
    boxes = [reply.json()[0]["box"] for reply in replies if reply.status == 200]
    assert boxes == [[20, 10, 50, 40]] * 4 + [[20, 20, 50, 50]]


def test_several_pictures_of_a_request_get_a_list_each(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    handler = detector(monkeypatch, tmp_path)
    bodies = [patch_of_light(80, 60, (20, 10, 50, 40)), Image.new("L", (9, 9))]
    instances = [{"b64": base64.b64encode(encoded(one)).decode()} for one in bodies]
    (reply,) = ask(handler, {"body": {"instances": instances}})
    assert [len(found) for found in reply.json()["predictions"]] == [1, 0]


def test_a_model_that_is_no_detector_is_found_at_the_load(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    let_load(monkeypatch, Computed(np.stack))
    with pytest.raises(ValueError, match="no list of dicts with 'boxes', 'labels', 'scores'"):
        start(ObjectDetector(), config=CONFIG, folder=tmp_path)


@pytest.mark.parametrize("name", DETECTORS)
def test_torchvisions_detectors_are_served_as_they_are(tmp_path: Path, name: str) -> None:
    image = Image.effect_noise((120, 80), 90).convert("RGB")
    bodies = [encoded(image), encoded(image.resize((50, 90))), b"text"]
    with model_folder(tmp_path, name) as model:
        handler = start(ObjectDetector(), model, CONFIG | {"threshold": 0.0}, tmp_path)
        replies = ask(handler, *bodies)
        (drawn,) = ask(handler, bodies[1], accept="image/png")
    assert [reply.status for reply in replies] == [200, 200, 400]
    for reply, size in zip(replies, [(120, 80), (50, 90)], strict=False):
        found = reply.json()
        assert found  # random weights find something everywhere
        scores = [one["score"] for one in found]
        assert scores == sorted(scores, reverse=True)
        for one in found:
            left, top, right, bottom = one["box"]
            assert 0 <= left <= right <= size[0]
            assert 0 <= top <= bottom <= size[1]
            assert one["label"] == str(one["index"])
    assert decoded(drawn.body).size == (50, 90)
