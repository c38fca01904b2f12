"""marsmith/core/interrupts.py."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from marsmith.core.interrupts import stop_signals

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _hang_up_is_not_ignored() -> Iterator[None]:
    """Have SIGHUP as a terminal has it, even where the tests run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_becomes_a_request(number: signal.Signals) -> None:
    with stop_signals() as stop:
        assert not stop.requested
        os.kill(os.getpid(), number)
        assert stop.requested


def test_what_signals_did_before_they_do_again_afterwards() -> None:
    before = [signal.getsignal(number) for number in NUMBERS]
    with pytest.raises(KeyError), stop_signals():
        raise KeyError
    assert [signal.getsignal(number) for number in NUMBERS] == before


def test_under_nohup_a_hang_up_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stop_signals() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        assert not stop.requested
