# mypy: ignore-errors
import bentoml
import torch
from PIL import Image
from torchvision.models import resnet18
from torchvision.transforms import CenterCrop, Compose, Normalize, Resize, ToTensor

CLASSES = ["daisy", "rose", "tulip"]
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@bentoml.service
class Service:
    def __init__(self):
        self.model = resnet18(num_classes=3)
        self.model.load_state_dict(torch.load("best.pth", weights_only=True))
        self.model.eval()
        steps = [Resize(256), CenterCrop(224), ToTensor(), Normalize(MEAN, STD)]
        self.transform = Compose(steps)

    @bentoml.api
    def predict(self, image: Image.Image) -> dict:
        batch = self.transform(image.convert("RGB")).unsqueeze(0)
        with torch.inference_mode():
            output = self.model(batch).softmax(dim=1)[0].tolist()
        return {"probabilities": dict(zip(CLASSES, output, strict=True))}
