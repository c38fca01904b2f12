"""marsmith/gateway/canary.py: who answers during a canary, and what is reported."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from marsmith.answers.messages import Request, Response
from marsmith.deploy.canary_routes import REPORTS, ROUTES_FILE, Report, Route, format_routes, summed
from marsmith.gateway import canary
from marsmith.gateway.backend import Answer, Backend, Call
from marsmith.gateway.canary import with_canaries
from marsmith.gateway.refusals import worker_died

Answering = Callable[[Call], Response]


class Two:
    """A back end of two versions; `answering` is what the canary does."""

    def __init__(self, answering: Answering) -> None:
        self.answering = answering
        self.asked: list[str | None] = []
        self.usual = Response(200, "OK", {}, b"0.90")

    async def start(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Nothing to do."""

    async def predict(self, call: Call) -> Answer:
        self.asked.append(call.version)
        if call.version is None:
            return Answer(self.usual, "1.0")
        return Answer(self.answering(call), call.version)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "_LOOK", 0.01)


def answers(status: int, body: bytes = b"0.91") -> Answering:
    return lambda _: Response(status, "", {}, body)


def dies(_: Call) -> Response:
    raise worker_died("digits", "2.0")


def trial(
    folder: Path, two: Two, *versions: str | None, share: float = 1.0, model: str = "digits"
) -> tuple[list[bytes], Report | None]:
    """Ask each version while there is a canary; return the answers and the report."""
    route = Route("2.0", share, tolerance=0.05, largest=0.05)
    (folder / ROUTES_FILE).write_bytes(format_routes({"digits": route}))

    async def run() -> list[bytes]:
        backend = with_canaries(cast(Backend, two), lambda: [folder])
        await backend.start()
        await asyncio.sleep(0.05)
        said = []
        for number, version in enumerate(versions):
            call = Call(model, Request(b"x"), str(number), version)
            said.append((await backend.predict(call)).response.body)
        await asyncio.sleep(0.1)  # until the next report
        await backend.stop()
        return said

    said = asyncio.run(run())
    texts = [path.read_text() for path in folder.glob(REPORTS)]
    return said, summed(texts, "digits", "2.0")


@pytest.mark.parametrize("answering", [answers(400), answers(503), dies])
def test_what_the_canary_fails_on_the_default_version_answers(
    tmp_path: Path, answering: Answering
) -> None:
    said, report = trial(tmp_path, Two(answering), None, None)
    assert said == [b"0.90", b"0.90"]
    assert report is not None
    assert (report.failed, report.usual_requests) == (2, 2)


def test_a_request_that_both_refuse_is_no_failure(tmp_path: Path) -> None:
    two = Two(answers(400))
    two.usual = Response(400, "", {}, b"no picture")
    said, report = trial(tmp_path, two, None)
    assert said == [b"no picture"]
    assert report is not None
    assert report.failed == 0


@pytest.mark.parametrize(("body", "alike"), [(b"0.91", True), (b"0.99", False)])
def test_some_answers_are_compared(tmp_path: Path, body: bytes, alike: bool) -> None:
    said, report = trial(tmp_path, Two(answers(200, body)), *[None] * 100)
    assert said == [body] * 100
    assert report is not None
    assert (report.alike > 0, report.other > 0) == (alike, not alike)
    assert report.requests == 100
    assert report.usual_requests == report.alike + report.other


def test_a_share_goes_to_the_canary(tmp_path: Path) -> None:
    two = Two(answers(200))
    said, _ = trial(tmp_path, two, *[None] * 200, share=0.3)
    assert 20 < said.count(b"0.91") < 110


def test_requests_that_name_a_version_are_none_of_it(tmp_path: Path) -> None:
    two = Two(answers(200))
    _, report = trial(tmp_path, two, "1.0", "2.0")
    assert two.asked == ["1.0", "2.0"]
    assert report == Report()  # it takes part, and has counted nothing


def test_other_models_are_none_of_it(tmp_path: Path) -> None:
    said, report = trial(tmp_path, Two(answers(200)), None, model="cartoon")
    assert said == [b"0.90"]
    assert report == Report()


def test_a_canary_that_is_over_gets_nothing(tmp_path: Path) -> None:
    two = Two(answers(200))
    backend: Any = with_canaries(cast(Backend, two), lambda: [tmp_path])

    async def run() -> None:
        await backend.start()
        await backend.predict(Call("digits", Request(b"x"), "1"))
        await backend.stop()

    (tmp_path / ROUTES_FILE).write_bytes(format_routes({"digits": Route("2.0", 1.0, until=0)}))
    asyncio.run(run())
    assert two.asked == [None]
