"""Photos to cartoons on TorchServe's base handler, one after the other."""

import io

import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms
from ts.torch_handler.base_handler import BaseHandler

_TO_INPUT = transforms.Compose(
    [transforms.Resize((256, 256)), transforms.ToTensor(), transforms.Normalize([0.5], [0.5])]
)


def redraw(model: torch.nn.Module, body: bytes) -> bytes:
    """Turn a photo into a cartoon of its size, as JPEG."""
    photo = Image.open(io.BytesIO(body)).convert("RGB")
    given = _TO_INPUT(photo)[None]
    drawn = _toned(model(given) * 0.5 + 0.5, given * 0.5 + 0.5)
    image = transforms.functional.to_pil_image(drawn[0].clamp(0, 1))
    buffer = io.BytesIO()
    image.resize(photo.size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def _toned(drawn: Tensor, given: Tensor) -> Tensor:
    """Give each channel the mean and spread that it had: the model's instance norm lost them."""
    spread, mean = torch.std_mean(given, dim=(2, 3), correction=0, keepdim=True)
    own_spread, own_mean = torch.std_mean(drawn, dim=(2, 3), correction=0, keepdim=True)
    return (drawn - own_mean) / (own_spread + 1e-3) * spread + mean


class CartoonHandler(BaseHandler):  # type: ignore[misc]
    """One request at a time."""

    def handle(self, data: list[dict[str, bytes]], _: object) -> list[bytes]:
        """Redraw each photo of a batch."""
        with torch.inference_mode():
            return [redraw(self.model, bytes(row.get("data") or row["body"])) for row in data]
