"""marsmith/stop_signals.py."""

from __future__ import annotations

import os
import signal

import pytest

from marsmith.stop_signals import stop_signals

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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
