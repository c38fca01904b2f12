"""What runs the models under `serve`: TorchServe, or the gateway's web process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from marsmith.project.project import Project
from marsmith.security.hardening import Guard, guard
from marsmith.server.lookup import server_properties
from marsmith.server.options import ServeOptions
from marsmith.server.own_folder import OwnFolder
from marsmith.server.pinned_archives import store_of
from marsmith.server.process import TorchServe
from marsmith.server.readiness import Watched
from marsmith.server.start_plan import StartPlan, plan_start
from marsmith.server.state import server_folder


class Host(Watched, Protocol):
    """A front end and its workers: started, watched, started again after a death, and stopped."""

    own_folder: OwnFolder
    in_front: bool  # of TorchServes, which run the models

    @property
    def folder(self) -> Path:
        """Its temporary folder, which exists while it runs."""

    @property
    def pid(self) -> int:
        """The front end's process id. Only after start()."""

    @property
    def ending(self) -> str:
        """How the front end's process ended."""

    def start(self, begun: Callable[[], None]) -> None:
        """Start it; `begun` is called before there is any process."""

    def restart(self, changed: Mapping[str, str]) -> None:
        """Start it again after its end, with `changed` properties."""

    def revive_fork_server(self) -> None:
        """Restart what workers are forked from, if it was killed."""

    def missing(self) -> str | None:
        """Return what was removed of its folder that workers or clients need."""

    def note(self, words: str) -> None:
        """Add a line to Marsmith's own log of this server."""

    def end(self, patience: float = 10.0) -> None:
        """End it; `restart` brings it back."""

    def stop(self, patience: float = 10.0) -> None:
        """End it and all of its workers, and remove its folder."""


class Hosting(Protocol):
    """Makes hosts of one kind."""

    def properties(self, project: Project, options: ServeOptions) -> dict[str, str]:
        """Return config.properties as such a host needs it."""

    def plan(
        self, project: Project, options: ServeOptions, properties: dict[str, str]
    ) -> StartPlan:
        """Return what a host will serve."""

    def guard(self, project: Project, options: ServeOptions, properties: dict[str, str]) -> Guard:
        """Make its properties safe."""

    def host(self, plan: StartPlan, guarded: Guard, options: ServeOptions) -> Host:
        """Prepare one for what is planned."""


class TorchServeHosting:
    """Makes TorchServes."""

    def properties(self, project: Project, options: ServeOptions) -> dict[str, str]:
        """Return config.properties with the ports that are asked for."""
        return server_properties(project, options.port)

    def plan(
        self, project: Project, options: ServeOptions, properties: dict[str, str]
    ) -> StartPlan:
        """Return what it will serve: private copies of archives."""
        return plan_start(project, options, properties)

    def guard(self, project: Project, options: ServeOptions, properties: dict[str, str]) -> Guard:
        """Close what TorchServe leaves open."""
        return guard(project, properties, secure=options.secure, tls=options.tls)

    def host(self, plan: StartPlan, guarded: Guard, options: ServeOptions) -> Host:
        """Prepare a TorchServe."""
        return TorchServe(
            guarded.properties | plan.snapshot(),
            store_of(plan.project, plan.port),
            plan.files,
            server_folder(plan.project, plan.port),
            options.log_format,
            fork=options.fork,
        )


TORCHSERVE = TorchServeHosting()
