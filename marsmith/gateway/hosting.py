"""The gateway in TorchServe's place under `serve`: its addresses, and its web process."""

from __future__ import annotations

from dataclasses import asdict

from marsmith.core.findings import FindingsError
from marsmith.core.installed import require
from marsmith.gateway.access.exposure import guard_gateway, key_file
from marsmith.gateway.jobs.settings import JOBS_FOLDER, uses_aws
from marsmith.gateway.options import DEFAULT_PORT, GatewayOptions
from marsmith.gateway.served import Settings, served_of
from marsmith.gateway.server import GatewayServer
from marsmith.project.project import Project
from marsmith.project.route_templates import template_findings
from marsmith.security.hardening import Guard
from marsmith.server.front_process import FrontProcess
from marsmith.server.lookup import server_properties
from marsmith.server.options import ServeOptions
from marsmith.server.pinned_archives import store_of
from marsmith.server.start_plan import StartPlan, plan_start
from marsmith.server.state import running_servers, server_folder
from marsmith.torchserve.ports import free_ports
from marsmith.torchserve.properties import Address, addresses


class GatewayHosting:
    """Makes gateways."""

    def properties(self, project: Project, options: ServeOptions) -> dict[str, str]:
        """Return config.properties with the gateway's one address in place of TorchServe's."""
        chosen = _own(options)
        port = free_ports(2) if chosen.port == 0 else chosen.port or DEFAULT_PORT
        url = f"http://{chosen.host}:{port}"
        return server_properties(project, None) | {
            "inference_address": url,
            "management_address": url,
            "metrics_address": url,
            "grpc_inference_address": chosen.host,
            "grpc_inference_port": str(port + 1),
            "grpc_management_address": chosen.host,
            "grpc_management_port": str(port + 1),
        }

    def plan(
        self, project: Project, options: ServeOptions, properties: dict[str, str]
    ) -> StartPlan:
        """Return what it will serve; nothing of its own in front of TorchServes.

        Raises FindingsError for a wrong table [gateway].
        """
        if wrong := [*template_findings(project)]:
            raise FindingsError(wrong)
        if backend_of(project, _own(options)) == "torchserve":
            return StartPlan(project, properties, [])
        return plan_start(project, options, properties)

    def guard(self, project: Project, options: ServeOptions, properties: dict[str, str]) -> Guard:
        """Decide who is let in."""
        chosen = _own(options)
        http, _ = _listeners(project, chosen, properties)
        return guard_gateway(project, chosen, properties, [*http.values()])

    def host(self, plan: StartPlan, guarded: Guard, options: ServeOptions) -> FrontProcess:
        """Prepare one. Raises MissingExtraError without the packages that it needs."""
        require("a gateway", "gateway", "starlette")
        chosen = _own(options)
        project, port = plan.project, plan.port
        project.state_folder(JOBS_FOLDER).chmod(0o700)
        if uses_aws(project.gateway):
            require("jobs in S3 and SQS", "s3")
        properties = guarded.properties | plan.snapshot()
        http, grpc = _listeners(project, chosen, properties)
        paths = {
            "public_key": str(chosen.public_key or ""),
            "keys": str(key_file(project, chosen.keys)),
        }
        settings = Settings(
            backend=backend_of(project, chosen),
            project=str(project.root),
            store=str(store_of(project, port)),
            log_folder=str(server_folder(project, port)),
            properties=properties,
            served=served_of(properties, plan.files),
            grpc={name: f"{one.host}:{one.port}" for name, one in grpc.items()},
            options=asdict(chosen) | paths,
            gateway=project.gateway,
        )
        return GatewayServer(settings, http)


def _listeners(
    project: Project, options: GatewayOptions, properties: dict[str, str]
) -> tuple[dict[str, Address], dict[str, Address]]:
    """Return where it listens for HTTP and for gRPC, by the names of listeners."""
    places = addresses(properties)
    http, grpc = {"gateway": places[0]}, {"gateway": places[3]}
    if options.torchserve_ports:
        theirs = addresses(server_properties(project, None))
        http |= zip(("inference", "management", "metrics"), theirs, strict=False)
        grpc |= zip(("inference", "management"), theirs[3:], strict=True)
    return http, grpc


def _own(options: ServeOptions) -> GatewayOptions:
    if not isinstance(options, GatewayOptions):
        raise TypeError("a gateway needs GatewayOptions")
    return options


def backend_of(project: Project, options: GatewayOptions) -> str:
    """Return the back end: the one that is named, or the project's TorchServe if one runs."""
    if options.backend or options.urls:
        return options.backend or "torchserve"
    runs = any(one.kind == "torchserve" for one in running_servers(project))
    return "torchserve" if runs else "local"


GATEWAY = GatewayHosting()
