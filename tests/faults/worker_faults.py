"""What can happen to workers: the same for Marsmith's server and for TorchServe as it comes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from tests.faults.conftest import Scale
from tests.faults.load import Tally
from tests.faults.servers import Server
from tests.integration.kit import wait_for

Pids = Callable[[], list[int]]
Injection = Callable[[Pids], None]
Loading = Callable[[str, int], AbstractContextManager[Tally]]


def _one_killed(pids: Pids) -> None:
    os.kill(pids()[0], signal.SIGKILL)


def _all_killed(pids: Pids) -> None:
    for pid in pids():
        os.kill(pid, signal.SIGKILL)


def _stopped(pids: Pids) -> None:
    os.kill(pids()[0], signal.SIGSTOP)


def _nothing_more(_: Pids) -> None:
    """The handler does it."""


# The fault → the model (archives.py) and what is done to its workers.
FAULTS: dict[str, tuple[str, Injection]] = {
    "one worker of two killed (-9)": ("digest", _one_killed),
    "both workers killed (-9)": ("digest", _all_killed),
    "one worker of two stopped (SIGSTOP)": ("digest", _stopped),
    "out of memory on every 50th request": ("hungry", _nothing_more),
    "handler raises on every 10th request": ("raising", _nothing_more),
    "handler hangs on every 300th request": ("hanging", _nothing_more),
    "handler exits on every 300th request": ("exiting", _nothing_more),
}
MODELS = list(dict.fromkeys(model for model, _ in FAULTS.values()))


def cases(quick: Sequence[str]) -> list[Any]:
    """Return the faults for a test; those of other models than `quick` take long."""
    slow = {name for name, (model, _) in FAULTS.items() if model not in quick}
    return [
        pytest.param(name, marks=[pytest.mark.faults] if name in slow else []) for name in FAULTS
    ]


def under(fault: str, server: Server, loaded: Loading, scale: Scale) -> Tally:
    """Load a model while its workers have a fault, until they are up again."""
    model, inject = FAULTS[fault]
    with loaded(model, scale.connections) as tally:
        time.sleep(scale.seconds / 4)
        inject(lambda: server.pids(model))
        time.sleep(scale.seconds * 3 / 4)
    assert tally.right > 0
    wait_for(lambda: server.is_whole(model), f"the workers of {model}")
    return tally


@contextmanager
def nobody_up(server: Server) -> Iterator[None]:
    """Let no worker of `closing` come up."""
    closed = server.kit.root / "closed"
    closed.touch()
    for pid in server.pids("closing"):
        os.kill(pid, signal.SIGKILL)
    with server.client() as client:
        wait_for(lambda: client.describe("closing")[0].ready_workers == 0, "the workers to be gone")
    try:
        yield
    finally:
        closed.unlink()
