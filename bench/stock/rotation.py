"""Rotation on TorchServe's vision handler: what our rotation_corrector.py computes, eagerly."""

import torch
from torch import Tensor
from torchvision import transforms
from ts.torch_handler.vision_handler import VisionHandler


def agreed_scores(model: torch.nn.Module, batch: Tensor) -> Tensor:
    """Return log-probabilities [N, 4] of [N, 3, S, S] on which eight views of a picture agree.

    The views are the four turns of the picture and of its mirror image.
    """
    sides = torch.cat([batch, batch.flip(3)])
    views = torch.cat([sides.rot90(turn, (2, 3)) for turn in range(4)])
    scores = model(views).log_softmax(1).view(4, 2, len(batch), 4)
    total = torch.zeros(len(batch), 4)
    for turn in range(4):
        plain, mirror = scores[turn].roll(turn, 2)
        total += plain + mirror[:, [0, 3, 2, 1]]
    return total / 8


class RotationHandler(VisionHandler):  # type: ignore[misc]
    """Photos to {"model_degree", "confidence"}."""

    image_processing = transforms.Compose(
        [
            transforms.Lambda(lambda image: image.convert("RGB")),
            transforms.Resize((160, 160)),
            transforms.ToTensor(),
            transforms.Normalize([0.5], [0.5]),
        ]
    )

    def inference(self, data: Tensor) -> Tensor:
        """Run the model on all views."""
        with torch.inference_mode():
            return agreed_scores(self.model, data)

    def postprocess(self, data: Tensor) -> list[dict[str, float]]:
        """Name the turn and how sure it is."""
        confidences, classes = data.div(1.25).softmax(1).max(1)
        rows = zip(classes.tolist(), confidences.tolist(), strict=True)
        return [{"model_degree": 90 * turn, "confidence": sure} for turn, sure in rows]
