"""`marsmith gateway`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import click

from marsmith.building.building import stale_warning
from marsmith.cli.completion import complete_archives
from marsmith.cli.gateway_keys import access_options, key
from marsmith.cli.output import examples, print_findings
from marsmith.cli.serve import (
    background_option,
    fresh_option,
    print_models,
    project_or_folder,
    ready_timeout_option,
    run_server,
    signature_option,
    stop_command,
)
from marsmith.gateway.hosting import GATEWAY, backend_of
from marsmith.gateway.options import DEFAULT_PORT, BackendName, GatewayOptions
from marsmith.server.state import ServerState


class DefaultCommand(click.Group):
    """A group whose first command runs when none of them is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments, completed."""
        return super().parse_args(ctx, self.completed(args))

    def completed(self, args: list[str]) -> list[str]:
        """Put the default command in front of arguments that name none."""
        named = bool(args) and (args[0] in self.commands or args[0] in ("--help", "-h"))
        return args if named else ["run", *args]


@click.group(
    cls=DefaultCommand,
    epilog=examples("marsmith gateway", "marsmith gateway digits --port 9000 --background"),
)
def gateway() -> None:
    """Serve archives without TorchServe, or in front of one: marsmith gateway [NAME]..."""


@gateway.command()
@click.argument("names", metavar="[NAME|FILE.mar]...", nargs=-1, shell_complete=complete_archives)
@click.option(
    "--backend",
    type=click.Choice(get_args(BackendName)),
    help="Workers of the gateway's own, or a running TorchServe (default: this project's, if any).",
)
@click.option(
    "--url",
    "urls",
    metavar="URL",
    multiple=True,
    help="Inference address of a TorchServe, for --backend torchserve.",
)
@click.option(
    "--port",
    metavar="N",
    type=click.IntRange(0, 65534),
    default=DEFAULT_PORT,
    show_default=True,
    help="HTTP at port N, gRPC at N+1; 0: free ones.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--torchserve-ports",
    is_flag=True,
    help="Listen at the ports of config.properties too, as TorchServe does.",
)
@background_option
@ready_timeout_option
@signature_option
@fresh_option
@access_options
@click.pass_context
def run(
    context: click.Context,
    /,
    names: tuple[str, ...],
    backend: BackendName | None,
    urls: tuple[str, ...],
    port: int,
    host: str,
    torchserve_ports: bool,
    background: bool,
    timeout: float,
    public_key: Path | None,
    fresh: bool,
    **access: Any,
) -> None:
    """Answer for the archives NAME, for all of archives.toml, or for files.

    A model is ready once it has returned the expected answers to its samples.
    """
    project = project_or_folder(context, names)
    options = GatewayOptions(
        names,
        port,
        timeout,
        public_key,
        fresh=fresh,
        host=host,
        backend=backend,
        urls=urls,
        torchserve_ports=torchserve_ports,
        **access,
    )
    if backend_of(project, options) == "local":
        found = (stale_warning(project, one) for one in names or project.archives)
        print_findings(filter(None, found))
    stopping = stop_command(context, project)
    run_server(project, options, GATEWAY, _print_ready, stopping, background=background)


gateway.add_command(key)


def _print_ready(state: ServerState, stopping: str) -> None:
    print_models(state)
    click.echo(f"  page        {state.url}")
    for model in state.models:
        click.echo(f"  predict     {state.url}/models/{model}/predict")
    click.echo(f"  management  {state.url}/models")
    click.echo(f"  metrics     {state.url}/metrics")
    click.echo(f"stop with: {stopping} {state.port}")
