"""JPEGs as torchvision decodes and scales them, here on the CPU, held against Pillow's way."""

from __future__ import annotations

import io
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from marsmith_handlers.card_decoder import CardDecoder
from marsmith_handlers.image_classifier import ImageClassifier
from marsmith_handlers.image_codec import Picture
from PIL import Image

from tests.handlers.asking import ROOT, Computed, ask, let_load, start

CPU = torch.device("cpu")
PHOTO = Image.open(ROOT / "samples/cat.jpg").convert("RGB")


def jpeg(image: Image.Image = PHOTO, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=92, **options)
    return buffer.getvalue()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return jpeg(exif=exif)


def png() -> bytes:
    buffer = io.BytesIO()
    PHOTO.save(buffer, "PNG")
    return buffer.getvalue()


def decoder(**config: Any) -> CardDecoder:
    return CardDecoder(ImageClassifier.Config.read(config), CPU, nullcontext())


class OnCard(Computed):
    """An engine that stands for one with a GPU: pictures are decoded where it computes."""

    on_gpu = True

    def card_decoder(self, config: Any) -> Any:
        return CardDecoder(config, CPU, nullcontext())

    def stack(self, pictures: Any) -> Any:
        return torch.stack([torch.as_tensor(one) for one in pictures]).numpy()


@pytest.mark.parametrize(
    "config",
    [
        {"size": [64, 64]},
        {"size": [64, 48], "crop": 0.875, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]},
        {"size": [600, 600], "crop": 1.0},
        {"size": [28, 28], "mode": "L"},
    ],
)
@pytest.mark.parametrize("shape", [(320, 240), (90, 400), (33, 35)])
def test_the_model_sees_what_it_sees_by_pillow(
    config: dict[str, Any], shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    let_load(monkeypatch, Computed(lambda batch: batch.reshape(len(batch), -1)[:, :2]))
    image = PHOTO.resize(shape)
    body = jpeg(image)
    handler = start(ImageClassifier(), config=config)
    expected = handler.prepare(Picture(Image.open(io.BytesIO(body)).convert("RGB"), shape))
    picture, found = decoder(**config).decode([[body]])[id(body)]
    assert picture.size == shape
    assert picture.cost == shape[0] * shape[1]
    assert found.shape == expected.shape
    scale = max(config.get("std", [1.0]))
    assert np.abs(found.numpy() - expected).mean() * scale < 0.01


@pytest.mark.parametrize(
    "body",
    [
        jpeg(progressive=True),
        jpeg(PHOTO.convert("CMYK")),
        jpeg()[:-2],
        turned(),
        png(),
        b"\xff\xd8 no JPEG",
        b"",
    ],
)
def test_what_a_card_cannot_decode_is_left_to_the_cpu(body: bytes) -> None:
    assert decoder().decode([[body]]) == {}


def test_a_damaged_one_leaves_the_whole_batch_to_the_cpu() -> None:
    whole = jpeg()
    codes = whole.index(b"\xff\xc4") + 5  # how many codes of each length a Huffman table has
    damaged = whole[:codes] + b"\xff" * 16 + whole[codes + 16 :]
    assert decoder().decode([[whole], [damaged]]) == {}
    assert decoder().decode([[whole]]).keys() == {id(whole)}


def test_pixels_of_a_request_are_counted_before_decoding() -> None:
    bodies = [jpeg(PHOTO.resize((100, 100))) for _ in range(3)]
    found = decoder(max_pixels=20_000).decode([bodies])
    assert set(found) == {id(body) for body in bodies[:2]}


def test_a_handler_answers_all_kinds_in_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    def means(batch: Any) -> Any:
        return np.stack([batch.mean((1, 2, 3)), 1 - batch.mean((1, 2, 3))], 1)

    answers = []
    for engine in (Computed, OnCard):
        let_load(monkeypatch, engine(means))
        handler = start(ImageClassifier(), config={"size": [64, 64]})
        bodies = [jpeg(), png(), b"none", jpeg(progressive=True), turned(), b""]
        answers.append(ask(handler, *({"body": body} for body in bodies)))
    plain, on_card = answers
    assert [one.status for one in on_card] == [200, 200, 400, 200, 200, 400]
    assert [one.status for one in plain] == [one.status for one in on_card]
    for index in (0, 1, 3, 4):
        apart = plain[index].json()["confidence"] - on_card[index].json()["confidence"]
        assert abs(apart) < 0.005


def test_too_many_pixels_are_refused_as_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    let_load(monkeypatch, OnCard(lambda batch: batch.reshape(len(batch), -1)[:, :2]))
    handler = start(ImageClassifier(), config={"size": [8, 8], "max_pixels": 5000})
    large, small = ask(handler, {"body": jpeg()}, {"body": jpeg(PHOTO.resize((50, 50)))})
    assert (large.status, large.code, small.status) == (413, "too_many_pixels", 200)


def test_a_handler_with_an_own_hook_gets_its_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(ImageClassifier):
        def answers(self, outputs: Any, pictures: list[Picture | None]) -> list[Any]:
            assert len(outputs) == len(pictures)
            return [one.image.size if one else None for one in pictures]

    let_load(monkeypatch, OnCard(lambda batch: batch.reshape(len(batch), -1)[:, :2]))
    (reply,) = ask(start(Own(), config={"size": [64, 64]}), {"body": jpeg()})
    assert min(reply.json()) >= 64
    handler = start(ImageClassifier(), config={"size": [64, 64], "invert": "auto"})
    assert handler.looks_at_pictures()
    assert not start(ImageClassifier(), config={"size": [64, 64]}).looks_at_pictures()
