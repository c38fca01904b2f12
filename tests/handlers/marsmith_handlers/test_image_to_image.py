"""marsmith_handlers/image_to_image.py, and the two models it serves."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from marsmith_handlers.engine import Engine
from marsmith_handlers.image_to_image import ImageToImage
from PIL import Image
from resnet_generator import ResnetGenerator
from unet import UNet

from tests.handlers.asking import Computed, ask, decoded, encoded, let_load, start

GRADIENT = Image.linear_gradient("L").resize((60, 40)).convert("RGB")
_PARTS = (0.9, 0.6, 0.3)  # how bright the channels of a coloured gradient are
STRETCHED = {"size": [64, 64], "mean": [0.5], "std": [0.5], "output_mean": 0.5, "output_std": 0.5}
SHAPED = {"size": [64, 64], "longest_side": 128, "multiple": 32}


class Unchanged(Engine):
    """A model that gives back what it gets, and remembers the shapes."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, batch: Any) -> Any:
        self.shapes.append(batch.shape)
        return batch


def handler_of(monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]) -> tuple[Any, Unchanged]:
    model = Unchanged()
    let_load(monkeypatch, model)
    handler = start(ImageToImage(), config=config)
    model.shapes.clear()
    return handler, model


@pytest.mark.parametrize("config", [STRETCHED, SHAPED], ids=["stretched", "shape kept"])
@pytest.mark.parametrize("size", [(1, 1), (3, 200), (60, 40), (128, 128), (500, 37), (300, 400)])
def test_images_come_back_at_the_size_they_came_in(
    monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], size: tuple[int, int]
) -> None:
    handler, model = handler_of(monkeypatch, config)
    image = GRADIENT.resize(size)
    (reply,) = ask(handler, encoded(image), accept="image/png")
    back = decoded(reply.body)
    assert (reply.status, back.size, back.mode) == (200, size, "RGB")
    distance = np.asarray(back, dtype=int) - np.asarray(image, dtype=int)
    assert np.abs(distance).mean() < 8
    (shape,) = model.shapes
    assert shape[1] == 3
    assert shape[2] % 32 == shape[3] % 32 == 0
    assert max(shape) <= 128


def test_pictures_of_several_shapes_share_a_request_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    handler, model = handler_of(monkeypatch, SHAPED)
    sizes = [(60, 40), (100, 40), (60, 40), (64, 33)]
    replies = ask(handler, *[encoded(GRADIENT.resize(size)) for size in sizes], b"text")
    assert [decoded(reply.body).size for reply in replies[:4]] == sizes
    assert replies[4].status == 400
    assert sorted(model.shapes) == [(1, 3, 64, 128), (3, 3, 64, 64)]


@pytest.mark.parametrize(
    ("accept", "content_type", "kind"),
    [
        (None, "image/jpeg", "JPEG"),
        ("image/*", "image/jpeg", "JPEG"),
        ("image/png", "image/png", "PNG"),
        ("image/webp", "image/webp", "WEBP"),
    ],
)
def test_the_answer_is_the_kind_of_image_that_was_asked(
    monkeypatch: pytest.MonkeyPatch, accept: str | None, content_type: str, kind: str
) -> None:
    handler, _ = handler_of(monkeypatch, STRETCHED)
    (reply,) = ask(handler, encoded(GRADIENT), accept=accept)
    assert (reply.content_type, decoded(reply.body).format) == (content_type, kind)


def test_json_holds_the_image_in_base64(monkeypatch: pytest.MonkeyPatch) -> None:
    handler, _ = handler_of(monkeypatch, STRETCHED)
    text = base64.b64encode(encoded(GRADIENT)).decode()
    many = {"body": {"instances": [{"b64": text}, {"b64": text}]}}
    one, both = ask(handler, {"body": {"image": text}}, many, accept="application/json")
    for answer in [one.json(), *both.json()["predictions"]]:
        assert answer["content_type"] == "image/jpeg"
        assert decoded(base64.b64decode(answer["image"])).size == GRADIENT.size
    (reply,) = ask(handler, many, accept="image/png")
    assert (reply.status, reply.code) == (406, "not_acceptable")


def test_outputs_are_clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    handler, _ = handler_of(monkeypatch, STRETCHED)
    handler.model = Computed(lambda batch: np.where(batch > 0, 9.0, -9.0))
    (reply,) = ask(handler, encoded(GRADIENT.resize((64, 64))), accept="image/png")
    assert set(np.unique(np.asarray(decoded(reply.body)))) == {0, 255}


def test_the_tones_of_the_picture_are_kept_if_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.merge("RGB", [GRADIENT.getchannel(0).point(lambda v, k=k: v * k) for k in _PARTS])
    for keep, close in ((False, False), (True, True)):
        handler, _ = handler_of(monkeypatch, {**STRETCHED, "keep_tones": keep})
        # Other colours, flat and bright.
        handler.model = Computed(lambda batch: batch[:, ::-1] * 0.3 + 0.4)
        (reply,) = ask(handler, encoded(image), accept="image/png")
        tones = [
            (pixels.mean(axis=(0, 1)), pixels.std(axis=(0, 1)))
            for pixels in (np.asarray(one, dtype=float) for one in (image, decoded(reply.body)))
        ]
        sent, back = np.array(tones)
        assert (np.abs(sent - back).max() < 4) == close


def test_an_output_that_is_no_number_is_our_own_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    handler, _ = handler_of(monkeypatch, STRETCHED)
    handler.model = Computed(lambda batch: batch * np.nan)
    (reply,) = ask(handler, encoded(GRADIENT))
    assert (reply.status, reply.code) == (500, "model_failed")


def test_an_image_model_takes_no_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    handler, _ = handler_of(monkeypatch, STRETCHED)
    (reply,) = ask(handler, {"data": bytes(16), "metadata": {"dims": [1, 2, 2]}})
    assert (reply.status, reply.code) == (415, "no_tensors")


# ---- the generator of CycleGAN


def test_without_an_archive_the_generator_is_the_papers() -> None:
    state = ResnetGenerator().state_dict()
    assert len(state) == 48
    assert sum(value.numel() for value in state.values()) == 11_378_179
    assert {"model.1.weight", "model.10.conv_block.1.weight", "model.10.conv_block.5.bias"} <= set(
        state
    )
    assert state["model.26.bias"].shape == (3,)


def test_old_checkpoints_with_running_stats_load() -> None:
    generator = ResnetGenerator(8, 2)
    state = dict(generator.state_dict())
    for index in (2, 5, 8):
        width = len(state[f"model.{index - 1}.bias"])
        state[f"model.{index}.running_mean"] = torch.zeros(width)
        state[f"model.{index}.running_var"] = torch.ones(width)
    state["model.10.conv_block.2.num_batches_tracked"] = torch.tensor(0)
    other = ResnetGenerator(8, 2)
    assert not other.load_state_dict(state).unexpected_keys
    image = torch.rand(1, 3, 32, 32)
    assert torch.equal(other(image), generator(image))
    assert float(generator(image).detach().abs().max()) <= 1


@pytest.mark.parametrize("legacy", [False, True])
def test_in_an_archive_the_generator_takes_its_size_from_the_weights(
    tmp_path: Path, legacy: bool
) -> None:
    source = Path(__file__).parents[3] / "model_defs" / "resnet_generator.py"
    module = tmp_path / "generator_in_archive.py"
    module.write_bytes(source.read_bytes())
    (tmp_path / "MAR-INF").mkdir()
    manifest = {"model": {"serializedFile": "latest_net_G.pth"}}
    (tmp_path / "MAR-INF" / "MANIFEST.json").write_text(json.dumps(manifest))
    state = ResnetGenerator(12, 3).state_dict()
    torch.save(state, tmp_path / "latest_net_G.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        import generator_in_archive  # type: ignore[import-not-found]  # made above

        own = generator_in_archive.ResnetGenerator()
        assert {name: one.shape for name, one in own.state_dict().items()} == {
            name: one.shape for name, one in state.items()
        }
        patch.delitem(__import__("sys").modules, "generator_in_archive")


# ---- the U-Net


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (33, 50)])
def test_the_unet_draws_at_the_size_of_its_input(size: tuple[int, int]) -> None:
    network = UNet().eval()
    with torch.inference_mode():
        assert network(torch.zeros(2, 3, *size)).shape == (2, 3, *size)
