"""How much load there is, and what becomes of its figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.load import Tally
from tests.faults.results import record
from tests.faults.servers import Gateway


@dataclass(frozen=True)
class Scale:
    """How much load, and for how long."""

    connections: int
    seconds: float

    @property
    def full(self) -> bool:
        """Whether it is what the figures in docs/explanation/reliability.md are made with."""
        return self.seconds >= 20


@pytest.fixture(scope="session")
def scale(request: pytest.FixtureRequest) -> Scale:
    """32 connections for 20 s at least with `scripts/test faults`, a taste of it otherwise."""
    return Scale(32, 20.0) if request.config.getoption("--faults") == "full" else Scale(8, 3.0)


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Callable[[str, str, Tally], None]:
    """Print the line of a fault, and keep its figures as those of a system."""

    def keep(system: str, fault: str, tally: Tally) -> None:
        with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            print(f"\n{system}, {fault}: {tally}")  # noqa: T201
        if name := request.config.getoption("--faults-results"):
            record(Path(name), system, {fault: tally.figures()})
        assert tally.sent

    return keep


@pytest.fixture
def report(note: Callable[[str, str, Tally], None]) -> Callable[[str, Tally], None]:
    """Note Marsmith's figures under a fault, and fail if an answer was wrong or lost."""

    def keep(fault: str, tally: Tally) -> None:
        note("marsmith", fault, tally)
        assert (tally.wrong, tally.lost) == (0, 0), str(tally)

    return keep


@pytest.fixture
def gateway_report(
    front: Gateway, note: Callable[[str, str, Tally], None]
) -> Callable[[str, Tally], None]:
    """Note the figures of a gateway, `front`, and fail if an answer was wrong or lost."""

    def keep(fault: str, tally: Tally) -> None:
        note(f"gateway + {front.backend}", fault, tally)
        assert (tally.wrong, tally.lost) == (0, 0), str(tally)

    return keep
