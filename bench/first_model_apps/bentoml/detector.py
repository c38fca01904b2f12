# mypy: ignore-errors
import bentoml
import torch
from PIL import Image
from torchvision.models.detection import ssdlite320_mobilenet_v3_large
from torchvision.transforms.functional import to_tensor

CLASSES = ["ground", "bee", "wasp"]


@bentoml.service
class Service:
    def __init__(self):
        self.model = ssdlite320_mobilenet_v3_large(
            weights=None, weights_backbone=None, num_classes=3
        )
        self.model.load_state_dict(torch.load("best.pth", weights_only=True))
        self.model.eval()

    @bentoml.api
    def predict(self, image: Image.Image) -> dict:
        with torch.inference_mode():
            found = self.model([to_tensor(image.convert("RGB"))])[0]
        rows = zip(found["boxes"], found["labels"], found["scores"], strict=True)
        return {
            "boxes": [
                {"box": box.tolist(), "label": CLASSES[label], "score": float(score)}
                for box, label, score in rows
                if score > 0.5
            ]
        }
