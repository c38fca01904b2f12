"""`marsmith serve`, `marsmith status`, `marsmith stop`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import get_args

import click

from marsmith.building.building import stale_warning
from marsmith.cli.options import Number, port_option, project_of
from marsmith.cli.output import print_findings
from marsmith.core.errors import ProjectError
from marsmith.project.project import BareFolder, Project
from marsmith.server import serve as serving
from marsmith.server.background import serve_in_background
from marsmith.server.lookup import stop_server
from marsmith.server.options import DEFAULT_TIMEOUT, ServeOptions, is_file
from marsmith.server.state import ServerState
from marsmith.torchserve.log_config import LogFormat


@click.command()
@click.argument("names", metavar="[NAME|FILE.mar]...", nargs=-1)
@click.option(
    "--port",
    metavar="N",
    type=click.IntRange(0, 65531),
    help="Inference on N, management N+1, metrics N+2, gRPC N+3 and N+4; 0 takes free ones.",
)
@click.option("--background", is_flag=True, help="Return once it is ready; see status and stop.")
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=Number(min=1),
    default=DEFAULT_TIMEOUT,
    show_default=True,
    help="How long the models may take to load and answer.",
)
@click.option(
    "--require-signature",
    "public_key",
    metavar="PUBLIC_KEY",
    type=click.Path(path_type=Path),
    help="Serve only what the owner of this key signed: marsmith sign.",
)
@click.option("--secure", is_flag=True, help="Answer nobody without a token: marsmith token.")
@click.option("--tls", is_flag=True, help="Encrypt; without a certificate, with one made for it.")
@click.option(
    "--log-format",
    type=click.Choice(get_args(LogFormat)),
    default="text",
    show_default=True,
    help="What a line of the server's logs is: text, or a JSON object.",
)
@click.option("--fresh", is_flag=True, help="Serve what is built; forget what was deployed.")
@click.option(
    "--fork/--no-fork",
    default=True,
    show_default=True,
    help="Fork workers from one process that has imported PyTorch, or start each by itself.",
)
@click.pass_context
def serve(
    context: click.Context,
    names: tuple[str, ...],
    port: int | None,
    background: bool,
    timeout: float,
    public_key: Path | None,
    secure: bool,
    tls: bool,
    log_format: LogFormat,
    fresh: bool,
    fork: bool,
) -> None:
    """Run TorchServe with the archives NAME, or all, or with files.

    It is ready once every model returned the expected answers to its samples. If other machines
    can reach it, it always needs tokens.
    """
    project = _project(context, names)
    warnings = [stale_warning(project, name) for name in names or project.archives]
    print_findings(filter(None, warnings))
    options = ServeOptions(names, port, timeout, public_key, secure, tls, log_format, fresh, fork)
    stopping = _stop_command(context, project)
    if not background:
        stopping = f"Ctrl-C, or {stopping}"
        if not serving.serve(project, options, lambda state: _print_ready(state, stopping)):
            click.echo("stopped before it was ready", err=True)
            sys.exit(130)
        return
    outcome = serve_in_background(project, options)
    if isinstance(outcome, str):
        click.echo(outcome, err=True, nl=False)
        sys.exit(1)
    _print_ready(outcome, stopping)


def _project(context: click.Context, names: tuple[str, ...]) -> Project:
    """Return the project; files alone need none, and are served from the working directory."""
    try:
        return project_of(context)
    except ProjectError:
        if names and all(map(is_file, names)) and context.find_root().obj is None:
            return BareFolder(Path.cwd())
        raise


def _stop_command(context: click.Context, project: Project) -> str:
    """Return what stops a server, up to its port, from the working directory."""
    given = context.find_root().obj
    folder = f" --project {shlex.quote(str(project.root))}" if given else ""
    return f"marsmith{folder} stop --port"


def _print_ready(state: ServerState, stopping: str) -> None:
    for name in state.unproven:
        message = f"warning: {name} has no sample; it is loaded, but its answers are not checked"
        click.echo(message, err=True)
    for warning in state.warnings:
        click.echo(f"warning: {warning}", err=True)
    if state.restored:
        versions = ", ".join(state.restored)
        click.echo(f"as deployed: {versions}; marsmith serve --fresh forgets it")
    click.echo(f"ready: {', '.join(state.models)}")
    for model in state.models:
        click.echo(f"  predict     {state.url}/predictions/{model}")
    click.echo(f"  management  {state.management_url}/models")
    click.echo(f"  metrics     {state.metrics_url}/metrics")
    if state.secure:
        click.echo("  token       marsmith token")
    if state.certificate:
        click.echo(f"  trust       {state.certificate}")
    click.echo(f"stop with: {stopping} {state.port}")


@click.command()
@port_option
@click.pass_context
def stop(context: click.Context, port: int | None) -> None:
    """Stop this project's server."""
    state = stop_server(project_of(context), port)
    click.echo(f"stopped the server on port {state.port}")
