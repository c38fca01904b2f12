# mypy: ignore-errors
import bentoml
import torch
from PIL import Image
from torchvision.models.segmentation import lraspp_mobilenet_v3_large
from torchvision.transforms import Compose, Normalize, Resize, ToTensor

CLASSES = ["ground", "leaf", "flower"]
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@bentoml.service
class Service:
    def __init__(self):
        self.model = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3)
        self.model.load_state_dict(torch.load("best.pth", weights_only=True))
        self.model.eval()
        self.transform = Compose([Resize((520, 520)), ToTensor(), Normalize(MEAN, STD)])

    @bentoml.api
    def predict(self, image: Image.Image) -> dict:
        batch = self.transform(image.convert("RGB")).unsqueeze(0)
        with torch.inference_mode():
            mask = self.model(batch)["out"].argmax(dim=1)[0]
        counts = torch.bincount(mask.flatten(), minlength=len(CLASSES))
        shares = (counts / mask.numel()).tolist()
        return {"shares": dict(zip(CLASSES, shares, strict=True))}
