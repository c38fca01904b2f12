"""The harness counts what it should: wrong answers and lost ones are found."""

from __future__ import annotations

import time

from marsmith.errors import DeadlineError
from marsmith.messages import Response
from tests.faults.load import Tally, expected, judge, load


def outcome(status: int, body: bytes) -> Tally:
    tally = Tally()
    judge(tally, lambda _: Response(status, "", {}, body), b"x", expected(b"x"))
    return tally


def test_each_answer_is_counted_for_what_it_is() -> None:
    assert outcome(200, expected(b"x")).right == 1
    assert outcome(200, expected(b"y")).wrong == 1
    assert outcome(200, b"").wrong == 1
    assert outcome(503, b'{"code": 503, "message": "the queue is full"}').refused == 1
    assert outcome(503, b"").wrong == 1  # a refusal without a reason


def test_what_does_not_come_is_lost() -> None:
    def ask(_: bytes) -> Response:
        raise DeadlineError("too late", "wait")

    tally = Tally()
    judge(tally, ask, b"x", b"")
    assert (tally.sent, tally.lost) == (1, 1)
    assert "too late" in str(tally)


def test_every_request_that_was_sent_has_its_outcome() -> None:
    with load(lambda body: Response(200, "OK", {}, expected(body)), 8) as tally:
        while tally.sent < 100:
            time.sleep(0.01)
    assert tally.sent == tally.right > 100 - 1
