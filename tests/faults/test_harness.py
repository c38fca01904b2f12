"""The harness counts what it should: wrong answers and lost ones are found."""

from __future__ import annotations

import time

import pytest

from marsmith.answers.messages import Response
from marsmith.core.errors import DeadlineError
from tests.faults.document import TABLES, faults_table, filled
from tests.faults.growth import slope
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


def test_what_grows_is_seen_to_grow() -> None:
    assert slope([(0.0, 5.0), (1.0, 5.0), (2.0, 5.0)]) == 0
    assert slope([(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]) == pytest.approx(2)


def test_figures_stand_between_their_marks() -> None:
    page = "before\n<!-- soak -->\nold\n<!-- /soak -->\nafter"
    new = filled(page, "soak", ["| a |", "| b |"])
    assert new == "before\n<!-- soak -->\n| a |\n| b |\n<!-- /soak -->\nafter"
    assert filled(new, "soak", ["| a |", "| b |"]) == new
    with pytest.raises(SystemExit):
        filled(page, "faults", [])


def test_a_fault_without_figures_of_torchserve_has_a_dash() -> None:
    tally = Tally(sent=1200, right=1200, slowest=0.25)
    head, _, one, two = faults_table(
        {
            "marsmith": {"a": tally.figures(), "b": tally.figures()},
            "torchserve": {"b": tally.figures()},
        },
        TABLES["faults"],
    )
    assert head.count("|") == one.count("|") == two.count("|") == 6
    assert one == "| a | 1,200 / 1,200 / 0 / 0 / 0 | 0.2 s | — |  |"
    assert two.count("1,200 / 1,200 / 0 / 0 / 0") == 2
