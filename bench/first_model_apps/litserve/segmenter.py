# mypy: ignore-errors
import io
import sys

import litserve
import torch
from fastapi import UploadFile
from PIL import Image
from torchvision.models.segmentation import lraspp_mobilenet_v3_large
from torchvision.transforms import Compose, Normalize, Resize, ToTensor

CLASSES = ["ground", "leaf", "flower"]
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


class Leaves(litserve.LitAPI):
    def setup(self, device):
        self.model = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3)
        self.model.load_state_dict(torch.load("best.pth", weights_only=True))
        self.model.eval()
        self.transform = Compose([Resize((520, 520)), ToTensor(), Normalize(MEAN, STD)])

    def decode_request(self, request: UploadFile):
        image = Image.open(io.BytesIO(request.file.read())).convert("RGB")
        return self.transform(image).unsqueeze(0)

    def predict(self, batch):
        with torch.inference_mode():
            return self.model(batch)["out"].argmax(dim=1)[0]

    def encode_response(self, mask):
        counts = torch.bincount(mask.flatten(), minlength=len(CLASSES))
        shares = (counts / mask.numel()).tolist()
        return {"shares": dict(zip(CLASSES, shares, strict=True))}


if __name__ == "__main__":
    server = litserve.LitServer(Leaves(), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
