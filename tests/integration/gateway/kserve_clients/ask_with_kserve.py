"""Asks a gateway through KServe's own clients: v1, v2 and gRPC. Writes JSON.

    ask_with_kserve.py HTTP_HOST:PORT GRPC_HOST:PORT PICTURE

It runs in the environment of requirements.txt, whose protobuf is older than ours.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from kserve import (  # type: ignore[import-not-found]
    InferenceGRPCClient,
    InferenceRESTClient,
    InferInput,
    InferRequest,
    RESTConfig,
)


def request(values: Any, datatype: str, *, binary: bool) -> Any:
    """Return a request of v2 for digits."""
    given = InferInput("image", list(values.shape), datatype)
    given.set_data_from_numpy(values, binary_data=binary)
    return InferRequest("digits", [given], request_id="a")


def indices(answer: Any) -> Any:
    """Return what was recognised, and the id."""
    (output,) = [one for one in answer.outputs if one.name == "index"]
    return [answer.id, output.as_numpy().tolist()]


async def main(http: str, grpc: str, path: str) -> None:
    """Ask in each way."""
    url, picture = f"http://{http}", Path(path).read_bytes()
    text = base64.b64encode(picture).decode()
    pixels = np.zeros((2, 28, 28, 1), np.uint8)
    found: dict[str, Any] = {}
    v1 = InferenceRESTClient(RESTConfig(protocol="v1"))
    answer = await v1.infer(url, {"instances": [{"b64": text}, {"b64": text}]}, "digits")
    found["v1"] = [one["label"] for one in answer["predictions"]]
    explained = await v1.explain(url, "digits", {"instances": [{"b64": text}]})
    found["explained"] = [one["label"] for one in explained["explanations"]]
    found["v1 ready"] = await v1.is_model_ready(url, "digits")
    v2 = InferenceRESTClient(RESTConfig(protocol="v2"))
    found["ready"] = [
        await v2.is_server_live(url),
        await v2.is_server_ready(url),
        await v2.is_model_ready(url, "digits"),
    ]
    files = np.array([picture, picture], dtype=object)
    for name, values, datatype, binary in (
        ("v2 bytes", files, "BYTES", True),
        ("v2 pixels", pixels, "UINT8", False),
        ("v2 binary pixels", pixels, "UINT8", True),
    ):
        found[name] = indices(
            await v2.infer(url, request(values, datatype, binary=binary), "digits")
        )
    async with InferenceGRPCClient(grpc) as client:
        found["grpc ready"] = [
            await client.is_server_live(),
            await client.is_server_ready(),
            await client.is_model_ready("digits"),
        ]
        found["grpc bytes"] = indices(await client.infer(request(files, "BYTES", binary=True)))
        found["grpc pixels"] = indices(await client.infer(request(pixels, "UINT8", binary=False)))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
