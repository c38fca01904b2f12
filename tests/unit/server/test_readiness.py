"""marsmith/server/readiness.py: what a stop leaves undone. Real servers are in integration."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from marsmith.answers.messages import Request, Response
from marsmith.answers.samples import Sample
from marsmith.archive.reader import Archive
from marsmith.client import Client
from marsmith.core.interrupts import StopRequest
from marsmith.server.readiness import Start


@dataclass
class Loading:
    """A server, and its client: the model is up after some looks, or stop is asked for first."""

    stop: StopRequest
    asked: list[str] = field(default_factory=list)
    log_folder: Path = Path("logs")
    stop_at: str = ""

    def is_running(self) -> bool:
        return True

    def log(self, _name: str) -> str:
        return ""

    def describe(self, _name: str) -> list[SimpleNamespace]:
        self.stop.requested |= self.stop_at == "describe"
        up = 0 if self.stop.requested else 1
        return [SimpleNamespace(version="1.0", ready_workers=up, min_workers=1)]

    def listens(self) -> bool:
        """It does."""
        return True

    what = "a server"

    def problem(self) -> None:
        """Nothing is wrong."""

    def predict(self, name: str, request: Request, **_: object) -> Response:
        self.asked.append(f"{name} {request.body.decode()}")
        self.stop.requested |= self.stop_at == "predict"
        return Response(200, "OK", {}, b"[1]")


def archive() -> Archive:
    files = {"one": b"one", "two": b"two", "answer": b"[1]"}
    samples = tuple(Sample(name, "answer", 0.0) for name in ("one", "two"))
    manifest = SimpleNamespace(model_version="1.0")
    stand_in = SimpleNamespace(
        name="a", path=Path("a.mar"), manifest=manifest, samples=samples, read=files.__getitem__
    )
    stand_in.request_of = lambda sample: Request(files[sample.request])
    return cast(Archive, stand_in)


@pytest.mark.parametrize(
    ("stop_at", "asked"),
    [("", ["a one", "a two"]), ("describe", []), ("predict", ["a one"])],
)
def test_after_a_stop_no_further_sample_is_asked(stop_at: str, asked: list[str]) -> None:
    stop = StopRequest()
    server = Loading(stop, stop_at=stop_at)
    client = cast(Client, server)
    deadline = time.monotonic() + 10
    Start(server, client, [archive()], deadline, stop, lambda _, entry: entry).wait()
    assert server.asked == asked
