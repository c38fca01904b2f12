# mypy: ignore-errors
import io
import sys

import litserve
import torch
from fastapi import UploadFile
from PIL import Image
from torchvision.models import resnet18
from torchvision.transforms import CenterCrop, Compose, Normalize, Resize, ToTensor

CLASSES = ["daisy", "rose", "tulip"]
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


class Flowers(litserve.LitAPI):
    def setup(self, device):
        self.model = resnet18(num_classes=3)
        self.model.load_state_dict(torch.load("best.pth", weights_only=True))
        self.model.eval()
        steps = [Resize(256), CenterCrop(224), ToTensor(), Normalize(MEAN, STD)]
        self.transform = Compose(steps)

    def decode_request(self, request: UploadFile):
        image = Image.open(io.BytesIO(request.file.read())).convert("RGB")
        return self.transform(image).unsqueeze(0)

    def predict(self, batch):
        with torch.inference_mode():
            return self.model(batch).softmax(dim=1)[0].tolist()

    def encode_response(self, output):
        return {"probabilities": dict(zip(CLASSES, output, strict=True))}


if __name__ == "__main__":
    server = litserve.LitServer(Flowers(), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
