"""Until when a worker that is down is waited for."""

from __future__ import annotations

import pytest

from marsmith.client import Model
from marsmith.client.description import Worker
from marsmith.client.workers_up import Down
from marsmith.gateway.torchserve.downtime import AWAY, Downtime

KEY = "digits", "1.0"


def model(*states: str, default: bool = True) -> Model:
    workers = tuple(Worker(str(n), state, n, 0) for n, state in enumerate(states))
    return Model("digits", "1.0", default, 1, 1, 1, 1, workers)


def down(at: float, *, starting: bool = True) -> Down:
    return Down("why", starting, at)


def test_a_worker_that_is_started_again_is_waited_for_a_while() -> None:
    downtime = Downtime()
    found = [downtime.ends_waiting(KEY, down(at), at) for at in (1.0, AWAY, 1.0 + AWAY)]
    assert found == [False, False, True]


def test_no_worker_at_all_is_not_waited_for() -> None:
    assert Downtime().ends_waiting(KEY, down(1.0, starting=False), 1.0)


@pytest.mark.parametrize("key", [KEY, ("digits", None)])
def test_what_looks_found_counts(key: tuple[str, str | None]) -> None:
    downtime = Downtime()
    downtime.looked([model("UNLOADING")], 1.0)
    downtime.looked([model("UNLOADING")], 5.0)
    assert downtime.last_seen(key) == 5.0
    assert downtime.ends_waiting(key, down(1.0 + AWAY), 1.0 + AWAY)
    downtime.looked([model("UNLOADING", "READY")], 20.0)
    assert not downtime.ends_waiting(key, down(21.0), 21.0)


def test_a_worker_that_was_up_meanwhile_counts() -> None:
    downtime = Downtime()
    downtime.looked([model("UNLOADING", default=False)], 1.0)
    downtime.is_up(KEY)
    assert not downtime.ends_waiting(KEY, down(AWAY + 1.0), AWAY + 1.0)
