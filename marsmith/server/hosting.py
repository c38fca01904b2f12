"""What runs the models under `serve`: TorchServe, or the gateway's web process."""

from __future__ import annotations

from typing import Protocol

from marsmith.project.project import Project
from marsmith.security.hardening import Guard, guard
from marsmith.server.front_process import FrontProcess
from marsmith.server.lookup import server_properties
from marsmith.server.options import ServeOptions
from marsmith.server.pinned_archives import store_of
from marsmith.server.process import TorchServe
from marsmith.server.start_plan import StartPlan, plan_start
from marsmith.server.state import server_folder


class Hosting(Protocol):
    """Makes front ends of one kind."""

    def properties(self, project: Project, options: ServeOptions) -> dict[str, str]:
        """Return config.properties as it needs it."""

    def plan(
        self, project: Project, options: ServeOptions, properties: dict[str, str]
    ) -> StartPlan:
        """Return what it will serve."""

    def guard(self, project: Project, options: ServeOptions, properties: dict[str, str]) -> Guard:
        """Make its properties safe."""

    def host(self, plan: StartPlan, guarded: Guard, options: ServeOptions) -> FrontProcess:
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

    def host(self, plan: StartPlan, guarded: Guard, options: ServeOptions) -> FrontProcess:
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
