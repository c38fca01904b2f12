"""A handler in this process, asked with TorchServe's own context."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from marsmith_handlers import image_handler
from marsmith_handlers.engine import Engine
from marsmith_handlers.image_handler import ImageHandler
from PIL import Image
from ts.context import Context, RequestProcessor

ROOT = Path(__file__).parents[2]
SEVEN = (ROOT / "samples" / "seven.png").read_bytes()
DIGIT_CONFIG = {
    "size": [28, 28],
    "mode": "L",
    "mean": [0.1302],
    "std": [0.3069],
    "max_pixels": 1_000_000,
}
DIGIT_MODEL = {"modelFile": "convnet.py", "serializedFile": "convnet.pth"}


class Computed(Engine):
    """An engine that computes with a function of NumPy arrays, or of tensors."""

    def __init__(self, function: Callable[[Any], Any], *, tensors: bool = False) -> None:
        self._function, self._tensors = function, tensors

    def __call__(self, batch: Any) -> Any:
        if not self._tensors:
            return self._function(batch)
        with torch.inference_mode():
            return self._function(torch.from_numpy(np.ascontiguousarray(batch))).numpy()


def let_load(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    """Let handlers that are started from now on load this engine."""
    monkeypatch.setattr(image_handler, "load_model", lambda *_, **__: engine)


@dataclass(frozen=True)
class Reply:
    """What TorchServe would send for one request of a batch."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        return self.headers["content-type"]

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """Return the short code of a refusal."""
        assert self.headers["content-type"] == "application/json"
        error = self.json()["error"]
        assert error.keys() == {"code", "message", "hint"}
        assert all(isinstance(text, str) and text for text in error.values())
        return str(error["code"])


def new_context(
    headers: list[dict[str, Any]],
    model: dict[str, Any],
    config: dict[str, Any],
    folder: Path = ROOT / "weights",
) -> Any:
    """Return TorchServe's context for a batch of requests with these headers."""
    context = Context(
        model_name="model",
        model_dir=str(folder),
        manifest={"model": {"modelName": "model", "modelVersion": "1.0", **model}},
        batch_size=8,
        gpu=None,
        mms_version="0.12.0",
        model_yaml_config={"maxWorkers": 1, "handler_config": config},
    )
    context.request_ids = {index: f"request-{index}" for index in range(len(headers))}
    context.request_processor = [RequestProcessor(one) for one in headers]
    return context


def start(
    handler: ImageHandler,
    model: dict[str, Any] = DIGIT_MODEL,
    config: Any = DIGIT_CONFIG,
    folder: Path = ROOT / "weights",
) -> Any:
    """Initialise a handler as a worker does; on one thread, as tests run side by side."""
    handler.initialize(new_context([], model, {"threads": 1} | config, folder))
    return handler


def ask(
    handler: ImageHandler, *requests: dict[str, Any] | bytes, accept: str | None = None
) -> list[Reply]:
    """Send one batch; bytes are raw bodies, `accept` is the Accept header of all of them."""
    data = [{"body": one} if isinstance(one, bytes) else one for one in requests]
    headers = [{} if accept is None else {"Accept": accept} for _ in data]
    context = new_context(headers, DIGIT_MODEL, {})
    bodies = handler.handle(data, context)
    replies = []
    for index, body in enumerate(bodies):
        assert isinstance(body, bytes)
        status, _ = context.get_response_status(index)
        replies.append(Reply(status, context.get_response_headers(index), body))
        assert replies[-1].headers["Cache-Control"] == "no-store"
    return replies


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Return an image as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(body: bytes) -> Image.Image:
    """Return the image in the bytes of a file."""
    return Image.open(io.BytesIO(body))
