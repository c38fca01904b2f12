"""The handler base in this process, with TorchServe's own context: batches, refusals, faults."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from image_classifier import ImageClassifier
from image_codec import Picture, open_picture
from image_handler import ImageConfig
from image_request import RequestError
from model_loader import load_model
from PIL import Image
from ts.context import Context, RequestProcessor

ROOT = Path(__file__).parents[2]
SEVEN = (ROOT / "samples" / "seven.png").read_bytes()
CONFIG = {"size": [28, 28], "mode": "L", "mean": [0.1302], "std": [0.3069], "max_pixels": 1_000_000}
CPU = torch.device("cpu")
MANIFEST = {"model": {"modelFile": "convnet.py", "serializedFile": "convnet.pth"}}


def _context(requests: int, config: dict[str, Any] = CONFIG) -> Any:
    context = Context(
        model_name="digits",
        model_dir=str(ROOT / "weights"),
        manifest=MANIFEST,
        batch_size=8,
        gpu=None,
        mms_version="0.12.0",
        model_yaml_config={"maxWorkers": 1, "handler_config": config},
    )
    context.request_ids = {index: f"request-{index}" for index in range(requests)}
    context.request_processor = [RequestProcessor({}) for _ in range(requests)]
    return context


@pytest.fixture
def classifier() -> ImageClassifier:
    handler = ImageClassifier()
    handler.initialize(_context(0))
    return handler


def test_each_request_of_a_batch_gets_its_own_answer(classifier: ImageClassifier) -> None:
    batch: list[dict[str, Any]] = [
        {"body": SEVEN},
        {"body": b"text"},
        {"data": bytearray(SEVEN)},
        {},
        {"file": SEVEN},
    ]
    context = _context(len(batch))
    answers = classifier.handle(batch, context)
    statuses = [context.get_response_status(index)[0] for index in range(len(batch))]
    assert statuses == [200, 400, 200, 400, 200]
    assert answers[0] == answers[2] == answers[4]
    assert json.loads(answers[0])["label"] == "7"
    assert json.loads(answers[1])["error"]["code"] == "not_an_image"
    assert json.loads(answers[3])["error"]["code"] == "no_image"


def test_the_answer_does_not_depend_on_the_neighbours(classifier: ImageClassifier) -> None:
    alone = json.loads(classifier.handle([{"body": SEVEN}], _context(1))[0])
    noise = io.BytesIO()
    Image.effect_noise((28, 28), 90).save(noise, "PNG")
    batch = [{"body": noise.getvalue()}] * 7 + [{"body": SEVEN}]
    among = json.loads(classifier.handle(batch, _context(8))[7])
    assert among["label"] == alone["label"]
    assert among["confidence"] == pytest.approx(alone["confidence"], abs=1e-5)


def test_a_model_that_fails_costs_a_500_with_the_requests_id_and_no_traceback(
    classifier: ImageClassifier, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(torch.nn.Module):
        def forward(self, _batch: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("a secret of the model's")

    classifier.model = Broken()
    context = _context(2)
    failed, refused = classifier.handle([{"body": SEVEN}, {"body": b"text"}], context)
    assert context.get_response_status(0)[0] == 500
    assert context.get_response_status(1)[0] == 400
    assert "request-0" in json.loads(failed)["error"]["message"]
    assert b"secret" not in failed
    assert json.loads(refused)["error"]["code"] == "not_an_image"
    assert "a secret of the model's" in caplog.text


def test_plain_preparation_is_grey_28_by_28_mean_and_std(classifier: ImageClassifier) -> None:
    white = classifier.prepare(Picture(Image.new("RGB", (100, 50), "white"), (100, 50)))
    assert white.shape == (1, 28, 28)
    assert white.dtype == torch.float32
    assert torch.allclose(white, torch.full_like(white, (1 - 0.1302) / 0.3069))


def test_transparency_is_laid_over_white() -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(buffer, "PNG")
    image = open_picture(buffer.getvalue(), 100).image
    assert (image.mode, image.getpixel((0, 0))) == ("RGB", (255, 255, 255))


def test_sixteen_bits_become_eight() -> None:
    buffer = io.BytesIO()
    Image.new("I;16", (4, 4), 0x8000).save(buffer, "PNG")
    image = open_picture(buffer.getvalue(), 100).image
    assert (image.mode, image.getpixel((0, 0))) == ("L", 0x80)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(orientation: int) -> None:
    upright = Image.new("L", (8, 4), 0)
    upright.putpixel((0, 0), 255)
    back = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    (upright.transpose(back) if back is not None else upright).save(buffer, "PNG", exif=exif)
    image = open_picture(buffer.getvalue(), 100).image
    assert image.size == (8, 4)
    assert image.getpixel((0, 0)) == 255


def test_too_many_pixels_are_refused_before_they_are_decoded() -> None:
    header = io.BytesIO()
    Image.new("1", (2_000, 2_000)).save(header, "PNG")
    with pytest.raises(RequestError) as error:
        open_picture(header.getvalue()[:60], 1_000_000)  # there are no pixels behind the header
    assert error.value.status == 413


@pytest.mark.parametrize("length", [0, 1, 20, 100, len(SEVEN) // 2, len(SEVEN) - 40])
def test_a_cut_image_is_the_senders_fault(length: int) -> None:
    with pytest.raises(RequestError) as error:
        open_picture(SEVEN[:length], 1_000_000)
    assert error.value.status == 400


def test_an_unknown_config_key_is_named() -> None:
    with pytest.raises(ValueError, match=r"unknown handler_config key 'maen'; known: max_pixels"):
        ImageConfig.read({"maen": [0.5]})


def test_weights_are_never_unpickled_as_objects(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(1, 1), tmp_path / "module.pth")
    manifest = {"modelFile": "convnet.py", "serializedFile": "module.pth"}
    with pytest.raises(Exception, match="Weights only load failed"):
        load_model(tmp_path, manifest, CPU)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_torchscript_loads_without_a_model_file(tmp_path: Path) -> None:
    flat = torch.nn.Flatten()
    traced = torch.jit.trace(flat, torch.zeros(1, 1, 2, 2))  # type: ignore[no-untyped-call]
    traced.save(str(tmp_path / "flat.pt"))
    model = load_model(tmp_path, {"serializedFile": "flat.pt"}, CPU)
    assert model(torch.ones(3, 1, 2, 2)).shape == (3, 4)
    assert isinstance(model, torch.nn.Module)
    assert not model.training
