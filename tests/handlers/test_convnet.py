"""The digit model: its shape, its weights, and that it reads digits drawn in many ways."""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "handlers"), str(ROOT / "model_defs")]

import convnet  # noqa: E402
from isolate_figure import isolate_figure  # noqa: E402

SHAPES = {
    "cn1.weight": (16, 1, 3, 3),
    "cn1.bias": (16,),
    "cn2.weight": (32, 16, 3, 3),
    "cn2.bias": (32,),
    "fc1.weight": (64, 4608),
    "fc1.bias": (64,),
    "fc2.weight": (10, 64),
    "fc2.bias": (10,),
}


@pytest.fixture(scope="module")
def model() -> convnet.ConvNet:
    """Return the model with the committed weights."""
    built = convnet.ConvNet()
    built.load_state_dict(torch.load(ROOT / "weights" / "convnet.pth", weights_only=True))
    return built.eval()


def read(model: convnet.ConvNet, images: list[Image.Image]) -> Tensor:
    """Return the probabilities [N, 10] the way the handler gets them."""
    pixels = np.stack([np.asarray(isolate_figure(image)) for image in images])
    batch = (torch.as_tensor(pixels).float().unsqueeze(1) / 255 - 0.1302) / 0.3069
    with torch.inference_mode():
        answer: Tensor = model(batch).exp()
    return answer


def printed(ink: str, paper: str, height: int) -> list[Image.Image]:
    """Print the ten digits, off the middle."""
    images = []
    for digit in range(10):
        image = Image.new("RGB", (3 * height, 2 * height), paper)
        font = ImageFont.load_default(height)
        ImageDraw.Draw(image).text((height, height * 0.4), str(digit), ink, font)
        images.append(image)
    return images


def test_one_class_without_arguments() -> None:
    classes = [
        value
        for _, value in inspect.getmembers(convnet, inspect.isclass)
        if value.__module__ == convnet.__name__
    ]
    assert classes == [convnet.ConvNet]


def test_keys_and_shapes() -> None:
    state = convnet.ConvNet().state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == SHAPES
    assert sum(value.numel() for value in state.values()) == 300_426


def test_committed_weights_are_plain() -> None:
    path = ROOT / "weights" / "convnet.pth"
    assert path.read_bytes()[:2] == b"PK"  # the zip format of torch.save
    state = torch.load(path, weights_only=True)
    assert {key: tuple(value.shape) for key, value in state.items()} == SHAPES
    for value in state.values():
        assert value.dtype == torch.float32
        assert value.device.type == "cpu"
        assert value.is_contiguous()
        assert bool(value.isfinite().all())


def test_card_states_its_figures() -> None:
    card = (ROOT / "weights" / "convnet.md").read_text("utf-8")
    lines = [line.split("|") for line in card.splitlines() if line.endswith("% |")]
    figures = {line[1].strip(): float(line[2].strip(" %")) for line in lines}
    assert figures["28x28, handed in directly"] >= 98.5
    framed = {name: share for name, share in figures.items() if name.startswith("framing: ")}
    assert len(framed) == 13
    assert min(framed.values()) >= 99
    assert min(figures.values()) >= 95


def test_log_probabilities(model: convnet.ConvNet) -> None:
    batch = torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        answer = model(batch)
    assert answer.shape == (3, 10)
    assert torch.allclose(answer.exp().sum(1), torch.ones(3), atol=1e-5)


def test_batch_does_not_matter(model: convnet.ConvNet) -> None:
    images = printed("black", "white", 60)
    alone = torch.cat([read(model, [image]) for image in images])
    assert torch.allclose(alone, read(model, images), atol=1e-5)


@pytest.mark.parametrize("height", [24, 80, 600])
@pytest.mark.parametrize(
    ("ink", "paper"), [("black", "white"), ("white", "darkgreen"), ("red", "steelblue")]
)
def test_printed_digits(model: convnet.ConvNet, ink: str, paper: str, height: int) -> None:
    assert read(model, printed(ink, paper, height)).argmax(1).tolist() == list(range(10))


@pytest.mark.parametrize("width", [3, 8, 16, 28])
def test_lines_of_any_width(model: convnet.ConvNet, width: int) -> None:
    strokes = {
        1: [(150, 40), (150, 260)],
        4: [(190, 270), (190, 40), (70, 190), (240, 190)],
        7: [(80, 50), (220, 50), (130, 260)],
        3: [(80, 50), (210, 50), (140, 130), (210, 160), (215, 220), (150, 260), (75, 235)],
    }
    images = []
    for points in strokes.values():
        image = Image.new("RGB", (400, 300), "ivory")
        ImageDraw.Draw(image).line(points, "darkblue", width, "curve")
        images.append(image)
    assert read(model, images).argmax(1).tolist() == list(strokes)


def test_drawn_round_digits(model: convnet.ConvNet) -> None:
    zero, eight = (Image.new("L", (200, 260), 30) for _ in range(2))
    ImageDraw.Draw(zero).ellipse((50, 40, 150, 220), outline=220, width=14)
    ImageDraw.Draw(eight).ellipse((65, 30, 135, 120), outline=220, width=14)
    ImageDraw.Draw(eight).ellipse((55, 108, 145, 225), outline=220, width=14)
    assert read(model, [zero, eight]).argmax(1).tolist() == [0, 8]


def test_messy_pictures(model: convnet.ConvNet) -> None:
    rng = np.random.default_rng(3)
    images = []
    for image in printed("#334", "#ccb", 120):
        image = image.filter(ImageFilter.GaussianBlur(2))
        pixels = np.asarray(image) * np.linspace(1, 0.6, image.width)[None, :, None]
        pixels = pixels + rng.normal(0, 10, pixels.shape)
        images.append(Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)))
    assert read(model, images).argmax(1).tolist() == list(range(10))


@pytest.mark.parametrize(("name", "digit"), [("seven.png", 7), ("three-photo.jpg", 3)])
def test_samples(model: convnet.ConvNet, name: str, digit: int) -> None:
    with Image.open(ROOT / "samples" / name) as image:
        answer = read(model, [image.convert("RGB")])[0]
    assert int(answer.argmax()) == digit
    assert float(answer.max()) > 0.95


def test_index_to_name() -> None:
    names = json.loads((ROOT / "model_defs" / "digits" / "index_to_name.json").read_text("utf-8"))
    assert names == {str(digit): str(digit) for digit in range(10)}
