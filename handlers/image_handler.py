"""The base of all image handlers: requests in, one answer per request out.

It ships inside every archive with the files that it imports. A subclass says how a picture
becomes its model's input, and what the outputs mean; see image_classifier.py.
"""

from __future__ import annotations

import logging
import math
import os
import time
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from image_codec import Picture, open_picture
from image_request import ImageRequest, RequestError, Tensor, read_request
from image_response import JSON, TEXT, Context, accepted_type, refuse, respond
from model_loader import load_model
from PIL import Image
from worker_metrics import WorkerMetrics, pace
from worker_reading import read_ahead

logger = logging.getLogger(__name__)

_TOO_LARGE = RequestError(
    400, "not_finite", "the model overflows on the tensor", "send values as training had them"
)
_WARM_UP = 1.0  # seconds
_PIXELS_AT_ONCE = 1 << 22  # a batch of large pictures goes through the model in parts


@dataclass(frozen=True)
class ImageConfig:
    """The `handler_config` table of an archive. `size` is (height, width) in pixels."""

    size: tuple[int, int] = (224, 224)
    mode: str = "RGB"  # or "L", grey
    mean: tuple[float, ...] = (0.0,)  # taken off values in 0…1; per channel, or one for all
    std: tuple[float, ...] = (1.0,)
    # 0 stretches a picture to `size`. Else its middle is cut out, this part of the shorter side:
    # 0.875 is what torchvision's Resize(256) and CenterCrop(224) leave.
    crop: float = 0.0
    max_pixels: int = 50_000_000  # larger images are refused before they are decoded
    threads: int = 0  # 0: the machine's cores, shared among the workers
    engine: str = "auto"  # what computes the model, and in which type: see model_loader.py
    dtype: str = "float32"

    @classmethod
    def read(cls, values: dict[str, Any]) -> ImageConfig:
        """Take the table of a model-config.yaml; raises ValueError for a key it does not know."""
        known = {field.name for field in fields(cls)}
        if unknown := values.keys() - known:
            names = ", ".join(sorted(known))
            raise ValueError(f"unknown handler_config key {min(unknown)!r}; known: {names}")
        lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        return cls(**(values | lists))


@dataclass
class _Job:
    """One request of a batch: what to answer, and in which form."""

    index: int
    request: ImageRequest
    content_type: str
    pictures: list[Picture | None] = field(default_factory=list)  # None for a ready tensor
    tensors: list[torch.Tensor] = field(default_factory=list)


class ImageHandler:
    """What TorchServe calls: `initialize` once per worker, then `handle` once per batch."""

    Config: type[ImageConfig] = ImageConfig  # TorchServe wants one class a file, so nest your own
    content_types: tuple[str, ...] = (JSON,)  # what it answers with, the default first
    takes_tensors = False  # whether a request may send the model's input itself
    channels_last = True  # how pictures lie in memory for eager PyTorch: most networks gain
    contrast = False  # whether what is light on transparent ground is laid over black, not white

    def initialize(self, context: Context) -> None:
        """Load the model and answer empty images, so that the first requests find it warm."""
        read_ahead()
        metrics = getattr(context, "metrics", None)
        pace(metrics)
        serving = context.model_yaml_config
        self.config: Any = self.Config.read(serving.get("handler_config", {}))
        torch.set_num_threads(self.config.threads or _threads_per_worker(serving))
        self.model_dir = Path(context.system_properties["model_dir"])
        self.device = _device(context.system_properties.get("gpu_id"))
        model, engine, dtype = context.manifest["model"], self.config.engine, self.config.dtype
        self.model = load_model(self.model_dir, model, self.device, engine, dtype)
        channels = len(Image.new(self.config.mode, (1, 1)).getbands())
        self.set_normalisation()
        self.input_shape = (channels, *self.config.size)
        self._warm_up(int(serving.get("batchSize") or 1))
        self._metrics = WorkerMetrics(metrics, model.get("modelVersion"))
        self._metrics.start()

    def handle(self, data: list[dict[str, Any]], context: Context) -> list[Any]:
        """Answer every request of a batch; one that is refused leaves the others alone."""
        times = [time.perf_counter()]
        bodies: list[Any] = [None] * len(data)
        jobs: list[_Job] = []
        refused: list[RequestError] = []
        for index, given in enumerate(data):
            try:
                jobs.append(self._read(index, given, context))
            except Exception as error:
                bodies[index] = _refuse(context, index, error, refused)
        tensors = [tensor for job in jobs for tensor in job.tensors]
        pictures = [picture for job in jobs for picture in job.pictures]
        times.append(time.perf_counter())
        answers = iter(self._solve(tensors, pictures))
        times.append(time.perf_counter())
        for job in jobs:
            own = [next(answers) for _ in job.tensors]
            try:
                bodies[job.index] = self._write(job, own, context)
            except Exception as error:
                bodies[job.index] = _refuse(context, job.index, error, refused)
        times.append(time.perf_counter())
        decoded = sum(picture is not None for picture in pictures)
        self._metrics.count(len(data), refused, decoded, times)
        return bodies

    # ---- what subclasses change

    def prepare(self, picture: Picture) -> torch.Tensor:
        """Turn a picture into a normalised float32 [C, H, W] tensor."""
        height, width = self.config.size
        image = picture.image
        if image.mode != self.config.mode:
            image = image.convert(self.config.mode)
        if image.size != (width, height):
            box = self._middle(image) if self.config.crop else None
            image = image.resize((width, height), Image.Resampling.BILINEAR, box=box)
        return self.normalise(image)

    def infer(self, batch: torch.Tensor) -> torch.Tensor:
        """Run the model on [N, C, H, W]; the outputs come back on the CPU."""
        with torch.inference_mode():
            return self.model(batch.to(self.device, non_blocking=True)).cpu()

    def answers(self, outputs: torch.Tensor, pictures: list[Picture | None]) -> list[Any]:
        """Turn the model's outputs [N, …] for N pictures into N answers."""
        return list(outputs.tolist())

    def write(self, answer: Any, picture: Picture | None, content_type: str) -> Any:
        """Give an answer its form: bytes, text, or what JSON can hold."""
        return str(answer["label"]) if content_type == TEXT else answer

    def enough(self, content_type: str) -> int | None:
        """Return how many pixels a side a picture needs for that answer; None: all it has."""
        side: int = math.ceil(max(self.config.size) / (self.config.crop or 1))
        return side

    # ---- what they share

    def _warm_up(self, largest: int) -> None:
        """Infer on batches of every size that will come: many engines prepare for each."""
        end = time.monotonic() + _WARM_UP
        for count in (1, largest, *range(2, largest)):
            self.infer(torch.zeros(count, *self.input_shape))
            if time.monotonic() > end:
                return  # a slow model shall not be long in coming

    def set_normalisation(self) -> None:
        """Take mean and std from the config."""
        self.mean = torch.tensor(self.config.mean).reshape(-1, 1, 1)
        self.std = torch.tensor(self.config.std).reshape(-1, 1, 1)
        self._scale, self._shift = 1 / (255 * self.std), -self.mean / self.std

    def normalise(self, image: Image.Image) -> torch.Tensor:
        """Turn an image in the model's mode into float32 [C, H, W] by the config's mean and std."""
        pixels = torch.from_numpy(np.array(image))
        pixels = pixels.permute(2, 0, 1) if pixels.dim() == 3 else pixels.unsqueeze(0)
        return torch.addcmul(self._shift, pixels, self._scale)

    def _middle(self, image: Image.Image) -> tuple[float, float, float, float]:
        """Return left, top, right and bottom of what `crop` cuts out, in the shape of `size`."""
        height, width = self.config.size
        scale = self.config.crop * min(image.width / width, image.height / height)
        left, top = (image.width - scale * width) / 2, (image.height - scale * height) / 2
        return left, top, left + scale * width, top + scale * height

    def _read(self, index: int, given: dict[str, Any], context: Context) -> _Job:
        request = read_request(given)
        # Several answers need JSON to hold them, and what was asked in JSON is answered in it.
        offered = self.content_types if request.protocol == "plain" else (JSON,)
        job = _Job(index, request, accepted_type(context, index, offered))
        pixels_left = self.config.max_pixels  # for all the pictures of a request
        for item in request.items:
            if isinstance(item, bytes):
                enough = self.enough(job.content_type)
                picture = open_picture(item, pixels_left, enough, contrast=self.contrast)
                pixels_left -= picture.size[0] * picture.size[1]
                job.pictures.append(picture)
                job.tensors.append(self.prepare(picture))
            else:
                job.pictures.append(None)
                job.tensors.append(self._checked(item))
        return job

    def _checked(self, tensor: Tensor) -> torch.Tensor:
        if not self.takes_tensors:
            hint = "send the picture itself, as a file or in base64"
            raise RequestError(415, "no_tensors", "this model takes images, not tensors", hint)
        if tensor.shape != self.input_shape:
            shapes = " x ".join(map(str, tensor.shape)), " x ".join(map(str, self.input_shape))
            message = f"the tensor is {shapes[0]}, the model's input {shapes[1]}"
            raise RequestError(400, "wrong_dims", message, f"send float32 values {shapes[1]}")
        return torch.from_numpy(tensor)

    def _solve(self, tensors: list[torch.Tensor], pictures: list[Picture | None]) -> list[Any]:
        """Return one answer per tensor, or the exception that it made the model raise."""
        answers: list[Any] = [None] * len(tensors)
        shapes: dict[torch.Size, list[int]] = {}
        for place, tensor in enumerate(tensors):
            shapes.setdefault(tensor.shape, []).append(place)
        for shape, places in shapes.items():
            step = max(1, _PIXELS_AT_ONCE // (shape[-2] * shape[-1]))
            for start in range(0, len(places), step):
                part = places[start : start + step]
                solved = self._solve_part([tensors[i] for i in part], [pictures[i] for i in part])
                for place, answer in zip(part, solved, strict=True):
                    answers[place] = answer
        return answers

    def _solve_part(self, tensors: list[torch.Tensor], pictures: list[Picture | None]) -> list[Any]:
        try:
            outputs = self.infer(self._stack(tensors))
            if None in pictures and not outputs.isfinite().all():
                raise _TOO_LARGE  # a tensor of finite values may still be more than a model stands
            return self.answers(outputs, pictures)
        except Exception as error:
            if len(tensors) == 1:
                return [error]
            # One of them may be what the model cannot stand; the others shall not pay for it.
            pairs = zip(tensors, pictures, strict=True)
            return [self._solve_part([tensor], [picture])[0] for tensor, picture in pairs]

    def _stack(self, tensors: list[torch.Tensor]) -> torch.Tensor:
        """Make them one batch [N, C, H, W]; a GPU fetches it by itself from pinned memory."""
        last = self.channels_last and isinstance(self.model, torch.nn.Module)
        batch = torch.empty(
            (len(tensors), *tensors[0].shape),
            pin_memory=self.device.type == "cuda",
            memory_format=torch.channels_last if last else torch.contiguous_format,
        )
        return torch.stack(tensors, out=batch)

    def _write(self, job: _Job, answers: list[Any], context: Context) -> bytes:
        forms = []
        for answer, picture in zip(answers, job.pictures, strict=True):
            if isinstance(answer, Exception):
                raise answer
            forms.append(self.write(answer, picture, job.content_type))
        return respond(context, job.index, job.request, job.content_type, forms)


def _refuse(context: Context, index: int, error: Exception, refused: list[RequestError]) -> bytes:
    """Refuse a request; an error that is not the request's own is logged and gives nothing away."""
    if not isinstance(error, RequestError):
        request = context.get_request_id(index)
        logger.error("The model failed on request %s", request, exc_info=error)
        hint = "look for that id in the worker's log"
        error = RequestError(500, "model_failed", f"the model failed on request {request}", hint)
    refused.append(error)
    return refuse(context, index, error)


def _device(gpu_id: int | None) -> torch.device:
    usable = gpu_id is not None and torch.cuda.is_available()
    return torch.device(f"cuda:{gpu_id}" if usable else "cpu")


def _threads_per_worker(serving: dict[str, Any]) -> int:
    """Return each worker's share of the cores: full pools in every worker starve one another."""
    workers = serving.get("maxWorkers") or serving.get("minWorkers") or 1
    return max(1, (os.cpu_count() or 1) // int(workers))
