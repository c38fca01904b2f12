"""A worker parks: it answers one request of `marsmith scale` only when that lets it go.

The front end waits for a worker's answer before it takes more requests from the queue. So a parked
worker has no caller's request, and can be ended without losing one (deploy/parking.py).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

HEADER = b"x-marsmith-park"
SOCKET = "park.sock"  # in the server's temporary folder
_LONGEST = 30.0  # seconds, if `marsmith scale` hangs

Predict = Callable[[Any, list[dict[str, Any]]], Any]


def parking(predict: Predict, respond: Callable[..., Any]) -> Predict:
    """Return what takes the place of `ts.service.Service.predict`; `respond` writes an answer."""

    def predict_or_park(service: Any, batch: list[dict[str, Any]]) -> Any:
        # TorchServe never batches a request for a description with others (Model.pollBatch).
        if len(batch) == 1 and any(one["name"].lower() == HEADER for one in batch[0]["headers"]):
            park()
            return respond([b"{}"], {0: batch[0]["requestId"].decode()}, "Prediction success", 200)
        return predict(service, batch)

    return predict_or_park


def park() -> None:
    """Wait until `marsmith scale` closes the connection; at once if it runs not, or lets us go."""
    address = Path(os.environ.get("TMPDIR", "")) / SOCKET
    with suppress(OSError), socket.socket(socket.AF_UNIX) as lot:
        lot.settimeout(_LONGEST)
        lot.connect(str(address))
        lot.recv(1)
