"""Digits of any size and colour on TorchServe's own image classifier, scaled as they are.

Such preprocessing is what a tutorial has; it neither inverts nor finds a figure.
"""

from torchvision import transforms
from ts.torch_handler.image_classifier import ImageClassifier


class DigitClassifier(ImageClassifier):  # type: ignore[misc]
    """Grey, 28 pixels, normalised; the five most probable classes come out."""

    image_processing = transforms.Compose(
        [
            transforms.Grayscale(),
            transforms.Resize((28, 28)),
            transforms.ToTensor(),
            transforms.Normalize((0.1302,), (0.3069,)),
        ]
    )
