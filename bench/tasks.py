"""What is asked of the systems, and what is a right answer: PyTorch eager in float32 says it.

The reference is independent of the handlers: Pillow decodes a photo whole and torchvision scales
it, as TorchServe's own handlers do.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms

from bench.answers import Case, classes_check, picture_check, probabilities_check, turn_check
from bench.digit_stream import Sent, framed_stream, isolate_figure, mixed_stream
from bench.failures import BenchError
from bench.pictures import photo
from bench.places import BENCH, ROOT

IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
_PHOTO = (1280, 960)
_DIGITS_TOLERANCE = 1e-2
# Photos that are decoded at half their size, and int8 or bfloat16, move a probability by at most so
# much of the largest one.
_RESNET_TOLERANCE = 0.05
_SIZED_TOLERANCE = 0.2  # 28 pixels that become 256, 24 million that are decoded at an eighth
_CARTOON_TOLERANCE = 0.02


def digits() -> list[Case]:
    """Return digits framed as MNIST's are, each a different one."""
    return [_digit(one) for one in framed_stream()]


def mixed_digits() -> list[Case]:
    """Return digits framed, coloured, disturbed and photographed in many ways."""
    return [_digit(one) for one in mixed_stream()]


def unchecked(cases: Sequence[Case]) -> list[Case]:
    """Return the same requests for a server that is not expected to read all of them right."""
    return [replace(case, check=classes_check()) for case in cases]


def resnet18() -> list[Case]:
    """Return two photos of 1280x960 pixels."""
    model = random_resnet("resnet18")
    return [_photo_case(model, photo(*_PHOTO, first), _RESNET_TOLERANCE) for first in (0, 2)]


def sized_photo(side: int) -> list[Case]:
    """Return a square photo for ResNet-18."""
    return [_photo_case(random_resnet("resnet18"), photo(side, side), _SIZED_TOLERANCE)]


def rotation() -> list[Case]:
    """Return two photos of 1280x960 pixels, one of them upside down."""
    upright = photo(*_PHOTO)
    with Image.open(io.BytesIO(upright)) as image:
        buffer = io.BytesIO()
        image.transpose(Image.Transpose.ROTATE_180).save(buffer, "JPEG", quality=90)
    model = _weighted("rotation_net", "RotationNet", "rotation.pth")
    cases = {"a photo": upright, "a photo upside down": buffer.getvalue()}
    return [
        Case(name, body, "image/jpeg", turn_check(_turn(model, body)))
        for name, body in cases.items()
    ]


def cartoon() -> list[Case]:
    """Return two photos of 1280x960 pixels and what the generator makes of them."""
    weights = torch.load(ROOT / "weights" / "cartoon.pth", weights_only=True)
    size = len(weights["model.1.weight"]), sum("conv_block.1.weight" in key for key in weights)
    model: torch.nn.Module = _network(ROOT, "resnet_generator", "ResnetGenerator")(*size)
    model.load_state_dict(weights)
    model.eval()
    cases = []
    for first in (0, 2):
        body = photo(*_PHOTO, first)
        check = picture_check(_cartoon(model, body), _CARTOON_TOLERANCE)
        cases.append(Case(f"photo {first}", body, "image/jpeg", check))
    return cases


def random_resnet(name: str) -> torch.nn.Module:
    """Return `resnet18` or `resnet50` with the random weights of seed 0."""
    network = _network(BENCH / "projects" / name, name, name.replace("resnet", "ResNet"))
    torch.manual_seed(0)
    return network().eval()


def write_resnet18_weights(path: Path) -> None:
    """Write the random weights that `resnet18` expects the answers of."""
    torch.save(random_resnet("resnet18").state_dict(), path)


def write_generator_weights(path: Path) -> None:
    """Write 45 MB of random weights: a generator of the usual size for CycleGANs."""
    torch.manual_seed(0)
    torch.save(_network(ROOT, "resnet_generator", "ResnetGenerator")().state_dict(), path)


def unchecked_photo() -> list[Case]:
    """Return a photo for models of random weights: that there is a picture is all one can ask."""
    check = picture_check(np.full((960, 1280, 3), 128, np.uint8), tolerance=1.0)
    return [Case("a photo", photo(*_PHOTO), "image/jpeg", check)]


def _digit(sent: Sent) -> Case:
    with Image.open(io.BytesIO(sent.body)) as image:
        batch = digit_input(isolate_figure(image))[None]
    check = probabilities_check(_ask(digit_model(), batch), _DIGITS_TOLERANCE)
    return Case(sent.name, sent.body, sent.content_type, check)


@cache
def digit_model() -> torch.nn.Module:
    """Return the network of the archive `digits`, with its weights."""
    return _weighted("convnet", "ConvNet", "convnet.pth")


def digit_input(figure: Image.Image) -> Tensor:
    """Return the model's input [1, 28, 28]."""
    pixels = transforms.functional.to_tensor(figure)
    tensor: Tensor = transforms.functional.normalize(pixels, [0.1302], [0.3069])
    return tensor


def _photo_case(model: torch.nn.Module, body: bytes, tolerance: float) -> Case:
    expected = _ask(model, standard_input(body, 256, 224)[None])
    return Case("a photo", body, "image/jpeg", probabilities_check(expected, tolerance))


def standard_input(body: bytes, shorter: int, side: int) -> Tensor:
    """Return the model's input [3, side, side] as torchvision's documentation makes it."""
    steps = [transforms.Resize(shorter), transforms.CenterCrop(side), transforms.ToTensor()]
    steps.append(transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD))
    with Image.open(io.BytesIO(body)) as image:
        tensor: Tensor = transforms.Compose(steps)(image.convert("RGB"))
    return tensor


def _turn(model: torch.nn.Module, body: bytes) -> int:
    from bench.stock.rotation import RotationHandler, agreed_scores

    with Image.open(io.BytesIO(body)) as image, torch.inference_mode():
        batch = RotationHandler.image_processing(image)[None]
        return 90 * int(agreed_scores(model, batch).argmax())


def _cartoon(model: torch.nn.Module, body: bytes) -> Any:
    from bench.stock.cartoon import redraw

    with torch.inference_mode():
        encoded = redraw(model, body)
    with Image.open(io.BytesIO(encoded)) as image:
        return np.asarray(image)


def _ask(model: torch.nn.Module, batch: Tensor) -> dict[str, float]:
    with torch.inference_mode():
        row = model(batch).softmax(dim=1)[0].tolist()
    return {str(index): value for index, value in enumerate(row)}


def _weighted(module: str, name: str, weights: str) -> torch.nn.Module:
    model = _network(ROOT, module, name)()
    model.load_state_dict(torch.load(ROOT / "weights" / weights, weights_only=True))
    return model.eval()


def _network(project: Path, module: str, name: str) -> Callable[..., torch.nn.Module]:
    """Load a class from a project's model_defs, as it lies there."""
    source = project / "model_defs" / f"{module}.py"
    spec = importlib.util.spec_from_file_location(module, source)
    if spec is None or spec.loader is None:
        raise BenchError(f"{source} cannot be imported", "is this a whole clone?")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    network: Callable[..., torch.nn.Module] = getattr(loaded, name)
    return network
