# mypy: ignore-errors
import io
import sys

import litserve
import torch
from fastapi import UploadFile
from PIL import Image
from torchvision.models.detection import ssdlite320_mobilenet_v3_large
from torchvision.transforms.functional import to_tensor

CLASSES = ["ground", "bee", "wasp"]


class Insects(litserve.LitAPI):
    def setup(self, device):
        self.model = ssdlite320_mobilenet_v3_large(
            weights=None, weights_backbone=None, num_classes=3
        )
        self.model.load_state_dict(torch.load("best.pth", weights_only=True))
        self.model.eval()

    def decode_request(self, request: UploadFile):
        image = Image.open(io.BytesIO(request.file.read())).convert("RGB")
        return to_tensor(image)

    def predict(self, image):
        with torch.inference_mode():
            return self.model([image])[0]

    def encode_response(self, found):
        rows = zip(found["boxes"], found["labels"], found["scores"], strict=True)
        return {
            "boxes": [
                {"box": box.tolist(), "label": CLASSES[label], "score": float(score)}
                for box, label, score in rows
                if score > 0.5
            ]
        }


if __name__ == "__main__":
    server = litserve.LitServer(Insects(), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
