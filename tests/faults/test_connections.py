"""Callers that behave badly: idle, slow, too much, half of it, too many; the others go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from marsmith.client import ONCE
from tests.faults.bad_callers import BAD_CALLERS, IDLE, MESSAGE, QUEUE, SLOW, many_files
from tests.faults.conftest import Scale
from tests.faults.load import Tally, expected
from tests.faults.servers import Station, served

Report = Callable[[str, Tally], None]
_SLOWER = "10,000 idle connections"
_QUEUE = "a queue filled to its end"


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    with (
        many_files(IDLE + 2000),
        served(tmp_path_factory.mktemp("c"), "digest", "queueing") as running,
    ):
        yield running


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(one, marks=[pytest.mark.faults] if one == _SLOWER else [])
        for one in BAD_CALLERS
        if one != _QUEUE
    ],
)
def test_nobody_else_notices(station: Station, scale: Scale, report: Report, fault: str) -> None:
    model, misbehaving = BAD_CALLERS[fault]
    with misbehaving(station) as outcomes, station.loaded(model, scale.connections) as tally:
        time.sleep(scale.seconds)
    report(fault, tally)
    assert tally.right == tally.sent
    theirs = {
        "10,000 idle connections": [expected(b"idle")],
        "200 senders of a byte at a time": [expected(MESSAGE)] * SLOW,
        "bodies over the limit": [b"413"] * max(1, len(outcomes)),
        "bodies cut off half-way": [b""] * max(1, len(outcomes)),
    }
    assert outcomes == theirs[fault]


def test_a_queue_filled_to_its_end(station: Station, scale: Scale, report: Report) -> None:
    """One worker that is busy, a queue of four: further requests are refused at once."""
    model, misbehaving = BAD_CALLERS[_QUEUE]
    with (
        misbehaving(station) as outcomes,
        station.client(ONCE) as client,
        station.loaded(model, scale.connections, ONCE) as tally,
    ):
        end = time.monotonic() + scale.seconds
        while time.monotonic() < end:
            assert client.predict(model, b"one more", deadline=1.0).status == 503
    report(_QUEUE, tally)
    assert tally.right == 0
    assert all("503" in reason for reason in tally.reasons)
    right = [one for one in outcomes if one != b"503"]
    assert len(right) >= QUEUE
    assert set(right) == {expected(b"waits")}
