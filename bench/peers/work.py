"""The same work for all peers: a picture's bytes in, what Marsmith's handler answers out.

Each peer's app is only about serving. Which model it serves, and how, its environment says:
BENCH_TASK (digits, resnet18), BENCH_WEIGHTS (a state_dict), BENCH_OPENVINO (a model to run
instead), BENCH_DECODER (pillow, marsmith), BENCH_THREADS (of each process).
"""
# mypy: disable-error-code="import-not-found, import-untyped"

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor

Infer = Callable[[Tensor], Tensor]  # [N, C, H, W] to [N, classes]
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Work(Protocol):
    """A model with what comes before and after it."""

    def prepare(self, body: bytes) -> Tensor:
        """Turn a picture's bytes into the model's input [C, H, W]."""

    def answers(self, inputs: list[Tensor]) -> list[dict[str, Any]]:
        """Answer a batch."""


def load() -> Work:
    """Load what the environment asks for, ready to answer.

    It answers a picture first: that imports what is imported late, which takes seconds, and else
    is what the first request to each process of a server waits for.
    """
    torch.set_num_threads(int(os.environ.get("BENCH_THREADS", "1")))
    work: Work = Digits() if os.environ["BENCH_TASK"] == "digits" else ResNet18()
    buffer = io.BytesIO()
    Image.effect_noise((256, 256), 50).save(buffer, "PNG")
    work.answers([work.prepare(buffer.getvalue())])
    return work


class _Classifier:
    def __init__(self, infer: Infer) -> None:
        self.infer = infer

    def answers(self, inputs: list[Tensor]) -> list[dict[str, Any]]:
        with torch.inference_mode():
            rows = self.infer(torch.stack(inputs)).softmax(dim=1).double().round(decimals=6)
        return [_answer(row) for row in rows.tolist()]


class Digits(_Classifier):
    """The archive `digits`: the figure is found in the picture, then classified."""

    def __init__(self) -> None:
        from convnet import ConvNet

        super().__init__(_loaded(ConvNet()))

    def prepare(self, body: bytes) -> Tensor:
        """Frame the figure as MNIST does, by the handler's own function."""
        from isolate_figure import isolate_figure
        from torchvision.transforms.functional import normalize, to_tensor

        figure = isolate_figure(Image.open(io.BytesIO(body)))
        tensor: Tensor = normalize(to_tensor(figure), [0.1302], [0.3069])
        return tensor


class ResNet18(_Classifier):
    """ResNet-18 on photos, with torchvision's usual preprocessing."""

    def __init__(self) -> None:
        from resnet18 import ResNet18 as Network
        from torchvision import transforms

        openvino_model = os.environ.get("BENCH_OPENVINO")
        super().__init__(_openvino(openvino_model) if openvino_model else _loaded(Network()))
        self.scaled = os.environ.get("BENCH_DECODER") == "marsmith"
        steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()]
        self.transform = transforms.Compose([*steps, transforms.Normalize(_MEAN, _STD)])

    def prepare(self, body: bytes) -> Tensor:
        """Decode a photo, scale its shorter side to 256 and cut the middle out."""
        if self.scaled:
            from marsmith_handlers.image_codec import open_picture

            return self._transformed(open_picture(body, 50_000_000, 256).image)
        return self._transformed(Image.open(io.BytesIO(body)))

    def _transformed(self, image: Image.Image) -> Tensor:
        tensor: Tensor = self.transform(image.convert("RGB"))
        return tensor


def _loaded(network: torch.nn.Module) -> torch.nn.Module:
    network.load_state_dict(torch.load(os.environ["BENCH_WEIGHTS"], weights_only=True))
    return network.eval()


def _openvino(path: str) -> Infer:
    import openvino

    threads = int(os.environ.get("BENCH_THREADS", "1"))
    # The same hints that Marsmith's workers give: one request at a time, on so many threads.
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    return lambda batch: torch.from_numpy(compiled(batch.numpy())[0])


def _answer(row: list[float]) -> dict[str, Any]:
    probabilities = {str(index): value for index, value in enumerate(row)}
    label = max(probabilities, key=probabilities.__getitem__)
    return {
        "label": label,
        "confidence": probabilities[label],
        "probabilities": probabilities,
    }
