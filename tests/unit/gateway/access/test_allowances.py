"""Limits of keys."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marsmith.gateway.access.allowances import Allowances, Bucket
from marsmith.gateway.access.keys import Key, Limits
from marsmith.gateway.refusals import GatewayError


def a_key(limits: Limits, name: str = "ci") -> Key:
    return Key(name, name, "", (), 0.0, None, limits)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_to_do_depends_on_the_limit() -> None:
    allowances = Allowances(Clock())
    hints = set()
    for limits in (Limits(rate=0.5), Limits(concurrent=1)):
        key = a_key(limits, str(limits))
        allowances.begin(key)
        with pytest.raises(GatewayError) as caught:
            allowances.begin(key)
        hints.add(caught.value.hint)
    assert len(hints) == 2


def refused(allowances: Allowances, key: Key) -> int:
    """Return after how many seconds the key may ask again."""
    with pytest.raises(GatewayError) as caught:
        allowances.begin(key)
    assert (caught.value.code, caught.value.status) == ("key-limit", 429)
    assert caught.value.retry_after is not None
    return caught.value.retry_after


@given(st.floats(0.01, 1000), st.lists(st.floats(0.0, 2.0), max_size=200))
def test_a_bucket_gives_no_more_than_its_rate_and_one_seconds_worth(
    rate: float, pauses: list[float]
) -> None:
    bucket, now, taken = Bucket(rate, 0.0), 0.0, 0
    for pause in pauses:
        now += pause
        while bucket.wait(1.0, now) == 0:
            bucket.level -= 1
            taken += 1
    assert taken <= max(1.0, rate) + rate * now + 1e-6


@given(st.floats(0.01, 1000), st.floats(0, 10_000))
def test_after_the_wait_that_a_bucket_tells_it_gives(rate: float, drained: float) -> None:
    bucket = Bucket(rate, 0.0)
    bucket.level -= drained
    wait = bucket.wait(1.0, 0.0)
    assert bucket.wait(1.0, math.nextafter(wait, math.inf) * (1 + 1e-9) + 1e-9) <= 1e-6


def test_requests_a_second() -> None:
    clock = Clock()
    allowances, key = Allowances(clock), a_key(Limits(rate=2.0))
    for _ in range(2):
        assert allowances.begin(key) is not None
    assert refused(allowances, key) == 1
    assert allowances.begin(a_key(Limits(rate=2.0), "other")) is not None
    clock.now += 0.5
    assert allowances.begin(key) is not None
    refused(allowances, key)


def test_one_request_each_ten_seconds() -> None:
    clock = Clock()
    allowances, key = Allowances(clock), a_key(Limits(rate=0.1))
    allowances.begin(key)
    assert refused(allowances, key) == 10
    clock.now += 10
    allowances.begin(key)


def test_requests_at_once() -> None:
    allowances, key = Allowances(Clock()), a_key(Limits(concurrent=2))
    first = allowances.begin(key)
    allowances.begin(key)
    assert refused(allowances, key) == 1
    assert first is not None
    first.end(0)
    allowances.begin(key)


def test_a_body_that_was_read_delays_the_next_request() -> None:
    clock = Clock()
    allowances, key = Allowances(clock), a_key(Limits(bytes_per_second=1000.0))
    first = allowances.begin(key)
    assert first is not None
    first.end(5000)
    assert refused(allowances, key) == 4
    clock.now += 4.1
    assert allowances.begin(key) is not None


def test_a_refused_request_uses_nothing_up() -> None:
    clock = Clock()
    allowances, key = Allowances(clock), a_key(Limits(rate=5.0, concurrent=1))
    first = allowances.begin(key)
    for _ in range(20):
        refused(allowances, key)
    assert first is not None
    first.end(0)
    assert allowances.begin(key) is not None


def test_changed_limits_begin_anew() -> None:
    allowances = Allowances(Clock())
    allowances.begin(a_key(Limits(rate=1.0)))
    refused(allowances, a_key(Limits(rate=1.0)))
    assert allowances.begin(a_key(Limits(rate=3.0))) is not None


def test_a_key_without_limits_is_not_counted() -> None:
    assert Allowances(Clock()).begin(a_key(Limits())) is None
