"""handlers/rotation_corrector.py, with a model that knows its pictures, and with the real one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from rotation_corrector import RotationCorrector
from rotation_net import RotationNet

from tests.handlers.asking import Computed, ask, decoded, encoded, let_load, start

CONFIG: dict[str, Any] = {"size": [32, 32]}


def sky(width: int = 60, height: int = 40) -> Image.Image:
    """Draw a picture that is bright above and dark below, with a mark at the upper left."""
    image = (
        Image.linear_gradient("L")
        .resize((width, height))
        .transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    )
    image.paste(128, (0, 0, 6, 6))
    return image.convert("RGB")


def knows_the_sky(batch: torch.Tensor) -> torch.Tensor:
    """Return logits by where the bright side is: above, right, below or left of the middle."""
    middle = batch.mean(dim=1)
    sides = [middle[:, :16], middle[:, :, 16:], middle[:, 16:], middle[:, :, :16]]
    return 20 * torch.stack([side.mean(dim=(1, 2)) for side in sides], dim=1)


@pytest.fixture(params=[True, False], ids=["agreement", "one look"])
def handler(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    let_load(monkeypatch, Computed(knows_the_sky, tensors=True))
    return start(RotationCorrector(), config=CONFIG | {"agreement": request.param})


@pytest.mark.parametrize("turned", [0, 90, 180, 270])
def test_the_degree_sets_the_picture_upright(handler: RotationCorrector, turned: int) -> None:
    body = encoded(sky().rotate(-turned, expand=True))  # clockwise, so as to be turned back
    (reply,) = ask(handler, body)
    answer = reply.json()
    assert answer.keys() == {"model_degree", "exif_degree", "confidence", "success"}
    assert (answer["model_degree"], answer["exif_degree"]) == (turned, 0)
    assert answer["success"] is True
    assert 0.5 < answer["confidence"] <= 1
    (text,) = ask(handler, body, accept="text/plain")
    assert text.body == str(turned).encode()
    (picture,) = ask(handler, body, accept="image/png")
    assert np.array_equal(np.asarray(decoded(picture.body)), np.asarray(sky()))


@pytest.mark.parametrize(("orientation", "degree"), [(3, 180), (6, 270), (8, 90)])
def test_exif_is_done_first_and_told(
    handler: RotationCorrector, orientation: int, degree: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    body = encoded(sky().rotate(-degree, expand=True), exif=exif)
    (reply,) = ask(handler, body)
    assert (reply.json()["model_degree"], reply.json()["exif_degree"]) == (0, degree)
    (picture,) = ask(handler, body, accept="image/png")
    upright = decoded(picture.body)
    assert np.array_equal(np.asarray(upright), np.asarray(sky()))
    assert 0x0112 not in upright.getexif()


def test_an_unsure_answer_leaves_the_picture_as_it_was(handler: RotationCorrector) -> None:
    plain = Image.new("RGB", (50, 30), "grey")
    reply, _ = ask(handler, encoded(plain), b"text")
    assert reply.json()["success"] is False
    assert reply.json()["confidence"] == pytest.approx(0.25, abs=0.01)
    (picture,) = ask(handler, encoded(plain), accept="image/png")
    assert decoded(picture.body).size == (50, 30)


def test_a_picture_that_goes_back_is_not_decoded_smaller(handler: RotationCorrector) -> None:
    (reply,) = ask(handler, encoded(sky(1200, 800), "JPEG"), accept="image/jpeg")
    assert decoded(reply.body).size == (1200, 800)


def test_agreement_is_exactly_even_handed() -> None:
    torch.manual_seed(0)
    handler = RotationCorrector()
    handler.config = RotationCorrector.Config(agreement=True)
    handler.model = Computed(RotationNet().eval(), tensors=True)
    batch = torch.rand(3, 3, 64, 64).numpy()
    straight, turned = handler.infer(batch), handler.infer(np.rot90(batch, 1, (2, 3)))
    # What is turned by one quarter needs one less: the same numbers, one class on.
    assert np.allclose(np.roll(turned, 1, axis=1), straight, atol=1e-5)


@pytest.mark.parametrize("side", [160, 192])
def test_the_network_is_efficientnet_lite0(side: int) -> None:
    """timm's, built by others, answers the same with the same weights."""
    torch.manual_seed(0)
    own, other = RotationNet().eval(), timm.create_model("tf_efficientnet_lite0", num_classes=0)
    other.eval()
    body = {k: v for k, v in own.state_dict().items() if not k.startswith("classifier.")}
    for value in body.values():
        if value.ndim == 1 and value.is_floating_point():
            value.uniform_(0.5, 1.5)  # so that each normalisation does something
    other.load_state_dict(dict(zip(other.state_dict(), body.values(), strict=True)))
    pictures = torch.randn(2, 3, side, side)
    with torch.inference_mode():
        features = own.features(pictures)
        assert torch.allclose(features[:, -1280:], other(pictures), rtol=1e-4, atol=1e-5)


def test_eight_views_agree_where_one_is_misled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that sees one of the eight views wrongly is outvoted."""

    def misled(batch: torch.Tensor) -> torch.Tensor:
        logits = knows_the_sky(batch)
        logits[0] = torch.tensor([0.0, 0.0, 25.0, 0.0])
        return logits

    let_load(monkeypatch, Computed(misled, tensors=True))
    answers = {}
    for agreement in (True, False):
        handler = start(RotationCorrector(), config=CONFIG | {"agreement": agreement})
        (reply,) = ask(handler, encoded(sky().rotate(-90, expand=True)))
        answers[agreement] = reply.json()["model_degree"]
    assert answers == {True: 90, False: 180}
