"""One server for each file of faults, the load they are under, and the figures they give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from marsmith.client import Client, Retries
from marsmith.ports import free_ports
from marsmith.project import Project
from marsmith.server import KEY_FILE
from marsmith.server_state import ServerState, running_servers
from tests.faults.archives import project
from tests.faults.load import DEADLINE, Ask, Tally, load
from tests.faults.results import record
from tests.integration.kit import Kit

# Outlasts a front end that is started again: about half a minute of asking.
PATIENT = Retries(attempts=60, first=0.1, longest=1.0)


@dataclass(frozen=True)
class Scale:
    """How much load, and for how long."""

    connections: int
    seconds: float

    @property
    def full(self) -> bool:
        """Whether it is what the figures in docs/reliability.md are made with."""
        return self.seconds >= 20


@pytest.fixture(scope="session")
def scale(request: pytest.FixtureRequest) -> Scale:
    """32 connections for 20 s at least with `scripts/test faults`, a taste of it otherwise."""
    return Scale(32, 20.0) if request.config.getoption("--faults") == "full" else Scale(8, 3.0)


@dataclass(frozen=True)
class Station:
    """A server of the archives that fail."""

    kit: Kit
    port: int

    @property
    def state(self) -> ServerState:
        """What the kit knows of it now."""
        return next(one for one in running_servers(Project(self.kit.root)) if one.port == self.port)

    def client(self, retries: Retries | None = None) -> Client:
        """Return the kit's client for it."""
        return Client(
            f"http://127.0.0.1:{self.port}",
            key_file=Path(self.state.folder) / KEY_FILE,
            retries=retries,
            deadline=DEADLINE,
        )

    def pids(self, model: str, version: str | None = None) -> list[int]:
        """Return the processes of a model's workers that run."""
        with self.client() as client:
            (described,) = client.describe(model, version)
        return [worker.pid for worker in described.workers if worker.pid > 0]

    def is_whole(self, model: str) -> bool:
        """Whether all workers of a model are up."""
        with self.client() as client:
            (described,) = client.describe(model)
        return described.ready_workers >= described.min_workers

    @contextmanager
    def loaded(
        self, model: str, connections: int, retries: Retries | None = None
    ) -> Iterator[Tally]:
        """Load one of its models through the kit's client."""
        with self.client(retries) as client:
            ask: Ask = lambda body: client.predict(model, body)  # noqa: E731
            with load(ask, connections) as tally:
                yield tally


@contextmanager
def served(
    root: Path,
    *names: str,
    prepare: Callable[[Kit], None] = lambda _: None,
    env: dict[str, str] | None = None,
    secure: bool = False,
) -> Iterator[Station]:
    """Serve these archives for as long as it is needed; `prepare` changes the project before.

    `secure`: with tokens, without which no version can be deployed.
    """
    kit = project(root, *names)
    prepare(kit)
    port = free_ports(5)
    kit("serve", "--background", "--port", port, *["--secure"] * secure, env=env)
    try:
        yield Station(kit, port)
    finally:
        kit("stop", "--port", port)


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Callable[[str, Tally], None]:
    """Print the line of a fault, keep its figures, and fail if an answer was wrong or lost."""

    def keep(fault: str, tally: Tally) -> None:
        with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            print(f"\n{fault}: {tally}")  # noqa: T201
        if name := request.config.getoption("--faults-results"):
            record(Path(name), "marsmith", {fault: tally.figures()})
        assert tally.sent
        assert (tally.wrong, tally.lost) == (0, 0), str(tally)

    return keep
