"""Masks: their classes, their forms, and torchvision's segmenters as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from marsmith_handlers.engine import Engine
from marsmith_handlers.image_segmenter import ImageSegmenter
from marsmith_handlers.palette import palette
from PIL import Image

from tests.handlers.asking import Computed, ask, decoded, encoded, let_load, start
from tests.handlers.torchvision_models import SEGMENTERS, model_folder

CONFIG: dict[str, Any] = {"longest_side": 64, "multiple": 16}
NAMES = {"0": "ground", "1": "left", "2": "right"}


def sides(batch: Any) -> Any:
    """Return scores by brightness: dark is ground, middle is class 1, light is class 2."""
    level = batch.mean(axis=1)
    scores = [-level, 0.5 - np.abs(level - 0.5) * 1.5, level - 0.5]
    return {"out": np.stack(scores, axis=1), "aux": np.full((1, 7), np.nan)}


def three_bands(width: int = 90, height: int = 60) -> Image.Image:
    """Draw dark, middle and light, a third each."""
    image = Image.new("RGB", (width, height), "black")
    image.paste((128, 128, 128), (width // 3, 0, 2 * width // 3, height))
    image.paste("white", (2 * width // 3, 0, width, height))
    return image


@pytest.fixture
def handler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    return named(monkeypatch, tmp_path, CONFIG)


def named(patch: pytest.MonkeyPatch, folder: Path, config: dict[str, Any]) -> Any:
    let_load(patch, Computed(sides))
    (folder / "index_to_name.json").write_text(json.dumps(NAMES))
    return start(ImageSegmenter(), config=config, folder=folder)


def test_json_has_each_class_that_is_there_with_its_share(handler: Any) -> None:
    whole, dark = ask(handler, encoded(three_bands()), encoded(Image.new("L", (50, 20))))
    answer = whole.json()
    assert (answer["width"], answer["height"]) == (90, 60)
    assert {one["label"] for one in answer["classes"]} == {"ground", "left", "right"}
    for one in answer["classes"]:
        assert one["label"] == NAMES[str(one["index"])]
        assert one["share"] == pytest.approx(1 / 3, abs=0.03)
    assert dark.json()["classes"] == [
        {"index": 0, "label": "ground", "share": 1.0, "colour": "#000000"}
    ]


@pytest.mark.parametrize("size", [(90, 60), (30, 210), (3, 3), (64, 64), (500, 37)])
def test_a_png_holds_class_ids_at_the_size_of_the_picture(
    handler: Any, size: tuple[int, int]
) -> None:
    (reply,) = ask(handler, encoded(three_bands(*size)), accept="image/png")
    mask = decoded(reply.body)
    assert (reply.content_type, mask.size, mask.mode) == ("image/png", size, "L")
    middle = np.asarray(mask)[size[1] // 2]
    assert [middle[0], middle[size[0] // 2], middle[-1]] == [0, 1, 2]


def test_a_png_of_colours_has_a_legend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    handler = named(monkeypatch, tmp_path, CONFIG | {"mask": "colours"})
    (reply,) = ask(handler, encoded(three_bands()), accept="image/*")
    mask: Any = decoded(reply.body)
    assert (mask.mode, mask.size) == ("RGB", (90, 60))
    row = np.asarray(mask)[30]
    assert np.array_equal(row[[0, 45, 89]], palette(3))
    legend = {one["label"]: one["colour"] for one in json.loads(mask.text["legend"])}
    assert legend == {"ground": "#000000", "left": "#800000", "right": "#008000"}


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_the_picture_comes_back_with_the_mask_over_it(handler: Any, kind: str) -> None:
    (reply,) = ask(handler, encoded(three_bands(1200, 900)), accept=f"image/{kind}")
    image = decoded(reply.body)
    assert (image.format, image.size) == (kind.upper(), (1200, 900))
    dark, middle, light = np.asarray(image)[450, [50, 600, 1150]].astype(int)
    assert dark.max() < 8  # class 0 is left as it is
    assert np.abs(middle - (128, 64, 64)).max() < 12
    assert np.abs(light - (128, 192, 128)).max() < 12


def test_mixed_pictures_share_a_batch_and_a_bad_one_costs_no_other(handler: Any) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    deep = Image.fromarray((np.asarray(three_bands().convert("L")).astype(np.uint16)) << 8)
    bodies = [
        encoded(three_bands().convert("L")),
        encoded(three_bands().convert("RGBA")),
        b"text",
        encoded(three_bands().convert("CMYK"), "JPEG", quality=95),
        encoded(deep),
        encoded(three_bands(), "JPEG", exif=turned, quality=95),
        encoded(three_bands(33, 70)),
    ]
    replies = ask(handler, *bodies, accept="image/png")
    assert [reply.status for reply in replies] == [200, 200, 400, 200, 200, 200, 200]
    sizes = [decoded(reply.body).size for reply in replies if reply.status == 200]
    assert sizes == [(90, 60)] * 4 + [(60, 90), (33, 70)]
    for place in (0, 1, 3, 4):
        assert np.asarray(decoded(replies[place].body))[30, [5, 45, 85]].tolist() == [0, 1, 2]
    assert np.asarray(decoded(replies[5].body))[[5, 45, 85], 30].tolist() == [0, 1, 2]


def test_an_answer_does_not_depend_on_its_neighbours(handler: Any) -> None:
    body = encoded(three_bands())
    (alone,) = ask(handler, body)
    *_, among = ask(handler, encoded(three_bands(61, 64)), encoded(Image.new("L", (90, 60))), body)
    assert among.json() == alone.json()


def test_one_channel_is_one_class_and_a_ground(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    let_load(monkeypatch, Computed(lambda batch: batch.mean(axis=1, keepdims=True) - 0.7))
    handler = start(ImageSegmenter(), config=CONFIG, folder=tmp_path)
    (reply,) = ask(handler, encoded(three_bands()))
    shares = {one["index"]: one["share"] for one in reply.json()["classes"]}
    assert shares == {0: pytest.approx(2 / 3, abs=0.03), 1: pytest.approx(1 / 3, abs=0.03)}


def test_a_model_may_answer_at_a_lower_resolution(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    let_load(monkeypatch, Computed(lambda batch: sides(batch)["out"][..., ::4, ::4]))
    handler = start(ImageSegmenter(), config=CONFIG, folder=tmp_path)
    (reply,) = ask(handler, encoded(three_bands(500, 100)), accept="image/png")
    mask = np.asarray(decoded(reply.body))
    assert mask.shape == (100, 500)
    assert mask[50, [10, 250, 490]].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda batch: batch.mean(axis=(2, 3)), r"not \[N, classes, H, W\]"),
        (lambda batch: batch[:, :2], "3 names, and the model 2 classes"),
    ],
)
def test_what_does_not_fit_is_found_at_the_load(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, function: Any, said: str
) -> None:
    (tmp_path / "index_to_name.json").write_text(json.dumps(NAMES))
    let_load(monkeypatch, Computed(function))
    with pytest.raises(ValueError, match=said):
        start(ImageSegmenter(), config=CONFIG, folder=tmp_path)


def test_a_mask_that_is_neither_is_named() -> None:
    with pytest.raises(ValueError, match="mask is 'ids' or 'colours', not 'color'"):
        ImageSegmenter.Config.read({"mask": "color"})


def test_scores_that_are_no_numbers_are_our_own_fault(handler: Any) -> None:
    handler.model = Computed(lambda batch: sides(batch)["out"] * np.nan)
    (reply,) = ask(handler, encoded(three_bands()))
    assert (reply.status, reply.code) == (500, "model_failed")


@pytest.mark.parametrize("name", SEGMENTERS)
def test_torchvisions_segmenters_are_served_as_they_are(tmp_path: Path, name: str) -> None:
    with model_folder(tmp_path, name) as model:
        handler = start(ImageSegmenter(), model, CONFIG, tmp_path)
        assert isinstance(handler.model, Engine)
        bodies = [encoded(three_bands()), encoded(three_bands(40, 80)), b"text"]
        replies = ask(handler, *bodies)
        masks = ask(handler, *bodies, accept="image/png")
    assert [reply.status for reply in replies] == [200, 200, 400]
    for reply in replies[:2]:
        assert sum(one["share"] for one in reply.json()["classes"]) == pytest.approx(1, abs=1e-5)
        assert {one["index"] for one in reply.json()["classes"]} <= set(range(4))
    assert [decoded(reply.body).size for reply in masks[:2]] == [(90, 60), (40, 80)]
