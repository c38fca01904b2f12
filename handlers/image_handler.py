"""The base of all image handlers: requests in, one answer per request out.

It ships inside every archive and runs in a TorchServe worker, so it imports nothing but torch,
Pillow and numpy. A subclass says what its model's outputs mean; see image_classifier.py.
"""

from __future__ import annotations

import importlib
import inspect
import io
import json
import logging
import os
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image, ImageOps

logger = logging.getLogger(__name__)

# No vector or document formats: some of those start other programs to be decoded.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
_KINDS = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
_NO_FORM = "send the file as it is and not as a form: curl -T FILE, or name its Content-Type"
# The names under which a multipart field, or TorchServe itself ("body"), may hand us an image.
FIELDS = ("data", "image", "file", "body")


class Context(Protocol):
    """What this handler uses of `ts.context.Context`."""

    manifest: dict[str, Any]
    model_yaml_config: dict[str, Any]
    system_properties: dict[str, Any]

    def get_request_id(self, idx: int = 0) -> str | None: ...
    def set_response_content_type(self, idx: int, value: str) -> None: ...
    def set_response_header(self, idx: int, key: str, value: str) -> None: ...
    def set_response_status(self, code: int, phrase: str, idx: int) -> None: ...


class RequestError(Exception):
    """A request that cannot be answered: an HTTP status, a short code, what to do about it."""

    def __init__(self, status: int, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.hint = status, code, message, hint


@dataclass(frozen=True)
class ImageConfig:
    """The `handler_config` table of an archive. `size` is (height, width) in pixels."""

    size: tuple[int, int] = (224, 224)
    mode: str = "RGB"  # or "L", grey
    mean: tuple[float, ...] = (
        0.0,
    )  # subtracted from values in 0…1, one per channel or one for all
    std: tuple[float, ...] = (1.0,)
    max_pixels: int = 50_000_000  # larger images are refused before they are decoded
    threads: int = 0  # 0: the machine's cores, shared among the workers

    @classmethod
    def read(cls, values: dict[str, Any]) -> ImageConfig:
        """Take the table of a model-config.yaml; raises ValueError for a key it does not know."""
        known = {field.name for field in fields(cls)}
        if unknown := values.keys() - known:
            names = ", ".join(sorted(known))
            raise ValueError(f"unknown handler_config key {min(unknown)!r}; known: {names}")
        lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        return cls(**(values | lists))


class ImageHandler:
    """What TorchServe calls: `initialize` once per worker, then `handle` once per batch."""

    config_type = ImageConfig

    def initialize(self, context: Context) -> None:
        """Load the model and answer one empty image, so that the first request finds it warm."""
        serving = context.model_yaml_config
        self.config = self.config_type.read(serving.get("handler_config", {}))
        torch.set_num_threads(self.config.threads or _threads_per_worker(serving))
        self.model_dir = Path(context.system_properties["model_dir"])
        self.device = _device(context.system_properties.get("gpu_id"))
        self.model = load_model(self.model_dir, context.manifest["model"]).to(self.device)
        channels = len(Image.new(self.config.mode, (1, 1)).getbands())
        self.mean = torch.tensor(self.config.mean).reshape(-1, 1, 1)
        self.std = torch.tensor(self.config.std).reshape(-1, 1, 1)
        self.infer(torch.zeros(1, channels, *self.config.size))

    def handle(self, data: list[dict[str, Any]], context: Context) -> list[Any]:
        """Answer every request of a batch; one that is refused leaves the others alone."""
        answers: list[Any] = [None] * len(data)
        tensors: dict[int, torch.Tensor] = {}
        for index, request in enumerate(data):
            try:
                image = open_image(image_bytes(request), self.config.max_pixels)
                tensors[index] = self.prepare(image)
            except RequestError as error:
                answers[index] = refuse(context, index, error)
        if tensors:
            try:
                outputs = self.infer(torch.stack(list(tensors.values())))
                for index, answer in zip(tensors, self.answers(outputs), strict=True):
                    answers[index] = answer
                    context.set_response_content_type(index, "application/json")
            except Exception:
                logger.exception("The model failed on a batch of %d", len(tensors))
                for index in tensors:
                    answers[index] = refuse(context, index, _own_fault(context, index))
        return answers

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """Turn an upright image in mode L or RGB into a normalised float32 [C, H, W] tensor."""
        height, width = self.config.size
        image = image.convert(self.config.mode)
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(image, dtype=np.float32)).div_(255)
        pixels = pixels.permute(2, 0, 1) if pixels.dim() == 3 else pixels.unsqueeze(0)
        return pixels.sub(self.mean).div_(self.std)

    def infer(self, batch: torch.Tensor) -> torch.Tensor:
        """Run the model on [N, C, H, W]; the outputs come back on the CPU."""
        with torch.inference_mode():
            outputs: torch.Tensor = self.model(batch.to(self.device))
            return outputs.cpu()

    def answers(self, outputs: torch.Tensor) -> list[Any]:
        """Turn the model's outputs [N, …] into N answers that JSON can hold."""
        return list(outputs.tolist())


def load_model(model_dir: Path, model: dict[str, Any]) -> torch.nn.Module:
    """Load the model that a manifest names: a class with a state_dict, or TorchScript.

    Nothing is unpickled but tensors. Weights are memory-mapped, so workers share their pages.
    """
    weights = model_dir / model["serializedFile"]
    if "modelFile" not in model:
        script: torch.nn.Module = torch.jit.load(str(weights))  # type: ignore[no-untyped-call]
        return script.eval()
    network = _only_class(Path(model["modelFile"]).stem)()
    # Files written before PyTorch 1.6 are no zip and cannot be mapped.
    mapped = zipfile.is_zipfile(weights)
    state_dict = torch.load(weights, map_location="cpu", weights_only=True, mmap=mapped)
    network.load_state_dict(state_dict, assign=True)
    return network.eval()


def image_bytes(request: dict[str, Any]) -> bytes:
    """Return the image of one request: its raw body, or a field of a multipart form."""
    body = next((request[field] for field in FIELDS if request.get(field)), b"")
    if isinstance(body, (bytes, bytearray)) and body:
        return bytes(body)
    if not body:
        raise RequestError(400, "no_image", "the request holds no image", _NO_FORM)
    raise RequestError(
        400, "not_an_image", "the body is text, not an image", "send the file's bytes as they are"
    )


def open_image(body: bytes, max_pixels: int) -> Image.Image:
    """Decode an image whatever its name or content type says, upright, in mode L or RGB.

    Transparency is laid over white, or over black where all is light. Raises RequestError: 400
    for what is no image or broken, 413 for more than `max_pixels`, found before decoding.
    """
    too_large = RequestError(
        413, "too_many_pixels", f"the image has more than {max_pixels} pixels", "send it smaller"
    )
    try:
        image = Image.open(io.BytesIO(body), formats=FORMATS)
    except Image.DecompressionBombError:
        raise too_large from None
    except Exception as error:
        raise RequestError(
            400, "not_an_image", "the body is no image that can be decoded", "send " + _KINDS
        ) from error
    if image.width * image.height > max_pixels:
        raise too_large
    try:
        image.load()
        return _flat(ImageOps.exif_transpose(image))
    except Exception as error:
        raise RequestError(
            400, "broken_image", f"the {image.format} image is damaged or cut off", "send it whole"
        ) from error


def refuse(context: Context, index: int, error: RequestError) -> bytes:
    """Give one request of the batch its own status and an error body."""
    context.set_response_status(error.status, error.message, index)
    context.set_response_content_type(index, "application/json")
    body = {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
    return json.dumps(body).encode()


def _own_fault(context: Context, index: int) -> RequestError:
    request = context.get_request_id(index)
    return RequestError(
        500, "model_failed", f"the model failed on request {request}", "look into the worker's log"
    )


def _flat(image: Image.Image) -> Image.Image:
    """Return mode L or RGB: 16 bits scaled to 8, palettes resolved, transparency over white."""
    if image.mode.startswith("I"):
        pixels = np.asarray(image).astype(np.int64)
        wide = pixels.max(initial=0) > 255  # else eight bits in a wide format
        return Image.fromarray((pixels >> 8 if wide else pixels).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        # Over white, unless all that is to be seen would vanish there.
        seen = np.asarray(image.convert("L"))[np.asarray(image.getchannel("A")) > 127]
        ground = "black" if seen.size and seen.min() > 200 else "white"
        return Image.alpha_composite(Image.new("RGBA", image.size, ground), image).convert("RGB")
    if image.mode == "F":  # values in 0…1, or in 0…255
        values = np.asarray(image)
        scale = 255 if values.max(initial=0) <= 1 else 1
        return Image.fromarray((values * scale).clip(0, 255).astype(np.uint8))
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _only_class(module_name: str) -> type[torch.nn.Module]:
    module = importlib.import_module(module_name)
    members: list[tuple[str, Any]] = inspect.getmembers(module, inspect.isclass)
    classes = [member for _, member in members if member.__module__ == module.__name__]
    if len(classes) != 1:
        raise ValueError(f"{module_name}.py must define exactly one class, not {len(classes)}")
    only: type[torch.nn.Module] = classes[0]
    return only


def _device(gpu_id: int | None) -> torch.device:
    usable = gpu_id is not None and torch.cuda.is_available()
    return torch.device(f"cuda:{gpu_id}" if usable else "cpu")


def _threads_per_worker(serving: dict[str, Any]) -> int:
    """Return each worker's share of the cores: full pools in every worker starve one another."""
    workers = serving.get("maxWorkers") or serving.get("minWorkers") or 1
    return max(1, (os.cpu_count() or 1) // int(workers))
