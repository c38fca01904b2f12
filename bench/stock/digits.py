"""Digits on TorchServe's own image classifier, as its MNIST example derives one."""

from torchvision import transforms
from ts.torch_handler.image_classifier import ImageClassifier


class DigitClassifier(ImageClassifier):  # type: ignore[misc]
    """What comes in is framed as MNIST's digits are; the five most probable classes come out."""

    image_processing = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((0.1302,), (0.3069,))]
    )
