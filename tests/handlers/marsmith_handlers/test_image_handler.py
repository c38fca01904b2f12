"""The handler base: batches, refusals, faults, the formats of models."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from convnet import ConvNet
from marsmith_handlers.image_classifier import ImageClassifier
from marsmith_handlers.image_codec import Picture
from marsmith_handlers.image_config import ImageConfig
from marsmith_handlers.image_handler import ImageHandler
from marsmith_handlers.model_loader import load_model
from marsmith_handlers.torch_engines import TorchEngine
from PIL import Image
from safetensors.torch import save_file
from torchvision.transforms.functional import center_crop, resize, to_tensor

from tests.handlers.asking import (
    DIGIT_CONFIG,
    DIGIT_MODEL,
    ROOT,
    SEVEN,
    Computed,
    ask,
    encoded,
    let_load,
    start,
)

NOISE = encoded(Image.effect_noise((28, 28), 90))


@pytest.fixture(scope="module")
def classifier() -> Any:
    return start(ImageClassifier())


def test_each_request_of_a_batch_gets_its_own_answer(classifier: ImageClassifier) -> None:
    replies = ask(
        classifier, SEVEN, b"text", {"data": bytearray(SEVEN)}, {}, {"file": SEVEN}, {"x": SEVEN}
    )
    assert [reply.status for reply in replies] == [200, 400, 200, 400, 200, 400]
    assert replies[0].body == replies[2].body == replies[4].body
    assert replies[0].json()["label"] == "7"
    assert [replies[i].code for i in (1, 3, 5)] == ["not_an_image", "no_image", "unknown_field"]


def test_the_answer_does_not_depend_on_the_neighbours(classifier: ImageClassifier) -> None:
    (alone,) = ask(classifier, SEVEN)
    among = ask(classifier, *[NOISE] * 7, SEVEN)[7]
    assert among.json()["label"] == alone.json()["label"]
    assert among.json()["confidence"] == pytest.approx(alone.json()["confidence"], abs=1e-5)


def test_requests_of_several_images_and_of_one_share_a_batch(classifier: ImageClassifier) -> None:
    text = {"b64": base64.b64encode(SEVEN).decode()}
    many, one, bad = ask(
        classifier,
        {"body": {"instances": [text, text]}},
        NOISE,
        {"body": {"instances": [text, {"b64": "!"}]}},
    )
    (seven,) = ask(classifier, SEVEN)
    assert [p["label"] for p in many.json()["predictions"]] == ["7", "7"]
    assert many.json()["predictions"][0]["confidence"] == pytest.approx(
        seven.json()["confidence"], abs=1e-5
    )
    assert one.status == 200
    assert (bad.status, bad.code) == (400, "bad_base64")


def test_the_limit_of_pixels_is_for_all_pictures_of_a_request(classifier: ImageClassifier) -> None:
    text = {"b64": base64.b64encode(encoded(Image.new("L", (700, 700)))).decode()}
    two, three = (ask(classifier, {"body": {"instances": [text] * count}})[0] for count in (2, 3))
    assert (two.status, three.status) == (200, 413)


def test_a_label_alone_as_text(classifier: ImageClassifier) -> None:
    (reply,) = ask(classifier, SEVEN, accept="text/plain")
    assert (reply.status, reply.content_type, reply.body) == (
        200,
        "text/plain; charset=utf-8",
        b"7",
    )
    (reply,) = ask(classifier, SEVEN, accept="image/png")
    assert (reply.status, reply.code) == (406, "not_acceptable")


def test_a_raw_tensor_skips_preprocessing(classifier: ImageClassifier) -> None:
    image = Image.open(ROOT / "samples" / "seven.png")
    values = ((np.asarray(image, dtype="<f4") / 255 - 0.1302) / 0.3069).astype("<f4")
    tensor = {"data": values.tobytes(), "metadata": b'{"dims": [1, 28, 28]}'}
    flat = {**tensor, "metadata": b'{"dims": [28, 28]}'}
    picture, raw, wrong = ask(classifier, SEVEN, tensor, flat)
    assert raw.status == 200
    assert raw.json()["probabilities"] == pytest.approx(picture.json()["probabilities"], abs=1e-5)
    assert (wrong.status, wrong.code) == (400, "wrong_dims")


def test_a_tensor_that_the_model_overflows_on_is_its_senders_fault(
    classifier: ImageClassifier,
) -> None:
    stripes = np.where(np.arange(28) % 2, 3e38, -3e38)  # no order of adding them stays finite
    values = np.tile(stripes, (1, 28, 1)).astype("<f4")
    tensor = {"data": values.tobytes(), "metadata": b'{"dims": [1, 28, 28]}'}
    good, bad, other = ask(classifier, SEVEN, tensor, NOISE)
    assert (good.status, bad.status, other.status) == (200, 400, 200)
    assert bad.code == "not_finite"
    assert good.json()["label"] == "7"


class Particular(torch.nn.Module):
    """A model that cannot stand bright pictures, as a real one may run out of memory on some."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        if (batch.mean(dim=(1, 2, 3)) > 2).any():
            raise RuntimeError("a secret of the model's")
        return torch.zeros(len(batch), 10)


def test_a_model_that_fails_costs_only_the_request_it_fails_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    handler = start(ImageClassifier())
    handler.model = Computed(Particular(), tensors=True)
    white = encoded(Image.new("L", (28, 28), 255))
    replies = ask(handler, SEVEN, white, b"text", SEVEN)
    assert [reply.status for reply in replies] == [200, 500, 400, 200]
    assert replies[1].code == "model_failed"
    assert "request-1" in replies[1].json()["error"]["message"]
    assert b"secret" not in replies[1].body
    assert "a secret of the model's" in caplog.text


def test_numbers_that_are_none_are_our_own_fault() -> None:
    handler = start(ImageClassifier())
    handler.model = Computed(lambda batch: np.full((len(batch), 10), np.nan))
    (reply,) = ask(handler, SEVEN)
    assert (reply.status, reply.code) == (500, "model_failed")


def test_plain_preparation_is_grey_28_by_28_mean_and_std(classifier: ImageClassifier) -> None:
    white = classifier.prepare(Picture(Image.new("RGB", (100, 50), "white"), (100, 50)))
    assert white.shape == (1, 28, 28)
    assert white.dtype == np.float32
    assert np.allclose(white, (1 - 0.1302) / 0.3069)


@pytest.mark.parametrize(
    ("invert", "dark_on_light"), [(False, False), (True, True), ("auto", True)]
)
def test_dark_on_light_is_inverted_if_asked(invert: Any, dark_on_light: bool) -> None:
    handler = start(ImageClassifier(), config=DIGIT_CONFIG | {"invert": invert})
    black = Picture(Image.new("L", (28, 28), 0), (28, 28))
    white = Picture(Image.new("RGB", (28, 28), "white"), (28, 28))
    low = -0.1302 / 0.3069
    assert (float(handler.prepare(white).max()) == pytest.approx(low)) is dark_on_light
    assert (float(handler.prepare(black).max()) == pytest.approx(low)) is (invert is not True)


def test_an_invert_that_is_none_of_them_is_named() -> None:
    with pytest.raises(ValueError, match=r"invert is true, false or 'auto', not 'maybe'"):
        ImageClassifier.Config.read({"invert": "maybe"})


def test_an_unknown_config_key_is_named() -> None:
    with pytest.raises(
        ValueError,
        match=r"unknown handler_config key 'maen'; known: crop, dtype, engine, max_images",
    ):
        ImageConfig.read({"maen": [0.5]})


@pytest.mark.parametrize("name", ["max_pixels", "max_scans", "max_images"])
def test_a_limit_is_at_least_one(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        ImageConfig.read({name: 0})


# ---- from the picture to the model's input


@pytest.mark.parametrize("size", [(300, 300), (400, 260), (260, 700), (5, 9)])
def test_crop_leaves_what_torchvisions_resize_and_center_crop_leave(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    let_load(monkeypatch, Computed(lambda batch: batch))
    image = Image.radial_gradient("L").resize(size).convert("RGB")
    handler = start(ImageHandler(), config={"size": [56, 56], "crop": 0.875})
    expected = center_crop(resize(image, [64], antialias=True), [56, 56])
    found = handler.prepare(Picture(image, image.size))
    assert found.shape == (3, 56, 56)
    assert np.abs(found - to_tensor(expected).numpy()).mean() < 0.02
    assert handler.enough("application/json") == 64


def test_without_crop_the_whole_picture_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    let_load(monkeypatch, Computed(lambda batch: batch))
    image = Image.new("RGB", (90, 30), "black")
    image.paste("white", (0, 0, 5, 30))
    for crop, left in ((0.0, 1.0), (1.0, 0.0)):
        handler = start(ImageHandler(), config={"size": [30, 30], "crop": crop})
        found = handler.prepare(Picture(image, image.size))
        assert float(found[0, 15, 0]) == left


# ---- formats of models


def test_weights_are_never_unpickled_as_objects(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(1, 1), tmp_path / "module.pth")
    manifest = {"modelFile": "convnet.py", "serializedFile": "module.pth"}
    with pytest.raises(Exception, match="Weights only load failed"):
        load_model(tmp_path, manifest)


def eager() -> torch.nn.Module:
    engine = load_model(ROOT / "weights", DIGIT_MODEL)
    assert isinstance(engine, TorchEngine)
    assert isinstance(engine.network, ConvNet)
    assert not engine.network.training
    return engine.network


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The given buffer is not writable:UserWarning")
@pytest.mark.filterwarnings("ignore:.isinstance.treespec:FutureWarning")
@pytest.mark.parametrize("kind", ["net.pt", "net.pt2", "net.onnx"])
def test_other_formats_load_without_a_model_file(tmp_path: Path, kind: str) -> None:
    network, example = eager(), torch.randn(2, 1, 28, 28)
    path = tmp_path / kind
    batch = {0: torch.export.Dim("batch", max=4096)}
    if kind == "net.pt":
        torch.jit.trace(network, example).save(str(path))  # type: ignore[no-untyped-call]
    elif kind == "net.pt2":
        torch.export.save(torch.export.export(network, (example,), dynamic_shapes=(batch,)), path)
    else:
        torch.onnx.export(
            network, (example,), path, dynamo=True, dynamic_shapes=(batch,), verbose=False
        )
    model = load_model(tmp_path, {"serializedFile": kind})
    for count in (1, 5):
        images = torch.randn(count, 1, 28, 28)
        with torch.inference_mode():
            expected = network(images).numpy()
        assert np.allclose(model(images.numpy()), expected, atol=1e-4)


def test_safetensors_load(tmp_path: Path) -> None:
    network = eager()
    save_file(network.state_dict(), tmp_path / "net.safetensors")
    manifest = {"modelFile": "convnet.py", "serializedFile": "net.safetensors"}
    model = load_model(tmp_path, manifest)
    images = torch.randn(2, 1, 28, 28)
    with torch.inference_mode():
        assert np.array_equal(model(images.numpy()), network(images).numpy())
