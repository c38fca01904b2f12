"""Asks a gateway through tritonclient: HTTP with JSON and bytes, and gRPC. Writes JSON.

    ask_with_triton.py HTTP_HOST:PORT GRPC_HOST:PORT PICTURE

It runs in the environment of requirements.txt, whose protobuf is older than ours.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as over_grpc  # type: ignore[import-not-found]
import tritonclient.http as over_http  # type: ignore[import-not-found]
from tritonclient.utils import InferenceServerException  # type: ignore[import-not-found]


def answers(client: Any, module: Any, picture: bytes, **binary: bool) -> dict[str, Any]:
    """Ask for two pictures as files, once as pixels, and for what is not there."""

    def infer(values: Any, datatype: str, outputs: Any = None, version: str = "") -> Any:
        given = module.InferInput("image", list(values.shape), datatype)
        given.set_data_from_numpy(values, **binary)
        wanted = [module.InferRequestedOutput(name, **binary) for name in outputs or []]
        more = {"outputs": wanted or None, "model_version": version}
        return client.infer("digits", [given], request_id="a", **more)

    two, broken = np.array([picture, picture], dtype=object), np.array([b"none"], dtype=object)
    files = infer(two, "BYTES", ["label", "index"])
    pixels = infer(np.zeros((1, 28, 28, 3), np.uint8), "UINT8")
    tensors = infer(np.full((3, 1, 28, 28), 0.5, np.float32), "FP32")
    found = {
        "label": [one.decode() for one in files.as_numpy("label").tolist()],
        "index": files.as_numpy("index").tolist(),
        "confidence": str(pixels.as_numpy("confidence").dtype),
        "tensors": list(tensors.as_numpy("index").shape),
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model": [client.is_model_ready("digits"), client.is_model_ready("digits", "1.0")],
    }
    refused: dict[str, Callable[[], Any]] = {
        "other": lambda: client.get_model_metadata("other"),
        "broken": lambda: infer(broken, "BYTES"),
        "version": lambda: infer(two, "BYTES", version="9"),
    }
    for name, work in refused.items():
        try:
            work()
            found[name] = "answered"
        except InferenceServerException as error:
            found[name] = str(error.status())
    return found


def main(http: str, grpc: str, path: str) -> None:
    """Ask in each way."""
    picture = Path(path).read_bytes()
    with over_http.InferenceServerClient(http) as client:
        metadata = client.get_model_metadata("digits")
        found = {
            "server": client.get_server_metadata()["name"],
            "inputs": metadata["inputs"],
            "outputs": [one["name"] for one in metadata["outputs"]],
            "index": [one["name"] for one in client.get_model_repository_index()],
            "http": answers(client, over_http, picture, binary_data=True),
        }
    with over_grpc.InferenceServerClient(grpc) as client:
        names = [one.name for one in client.get_model_repository_index().models]
        found["grpc index"] = names
        found["grpc server"] = client.get_server_metadata().name
        found["grpc outputs"] = [one.name for one in client.get_model_metadata("digits").outputs]
        found["grpc"] = answers(client, over_grpc, picture)
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
