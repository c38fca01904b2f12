"""LitServe: requests are decoded, batched, predicted and encoded in workers beside the server."""
# mypy: disable-error-code="import-not-found, misc"

# LitServe reads the annotations themselves, so they are not put off.
import sys
from typing import Any

import litserve
from fastapi import UploadFile
from torch import Tensor

from bench.peers import work


class Classifier(litserve.LitAPI):
    """A picture comes as a file in a form, the way LitServe takes files."""

    def setup(self, device: str) -> None:  # noqa: ARG002
        """Load the model, once a worker."""
        self.model = work.load()

    def decode_request(self, request: UploadFile) -> Tensor:
        """Turn the picture into the model's input."""
        return self.model.prepare(request.file.read())

    def predict(self, inputs: list[Tensor]) -> list[dict[str, Any]]:
        """Answer a batch."""
        return self.model.answers(inputs)

    def batch(self, inputs: list[Tensor]) -> list[Tensor]:
        """Leave the stacking to the model."""
        return inputs

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the answers one by one."""
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """Return an answer as it is."""
        return output


if __name__ == "__main__":
    api = Classifier(max_batch_size=32, batch_timeout=0.002)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=2)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
