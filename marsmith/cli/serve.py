"""`marsmith serve`, `marsmith status`, `marsmith stop`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import click

from marsmith.building.building import stale_warning
from marsmith.cli.completion import complete_archives
from marsmith.cli.options import Number, port_option, project_of
from marsmith.cli.output import examples, print_findings, print_warning
from marsmith.cli.progress import working
from marsmith.core.errors import ProjectError
from marsmith.project.project import BareFolder, Project
from marsmith.server import serve as serving
from marsmith.server.background import STOPPED, FailedStart, serve_in_background
from marsmith.server.hosting import TORCHSERVE, Hosting
from marsmith.server.lookup import stop_server
from marsmith.server.options import DEFAULT_TIMEOUT, ServeOptions, is_file
from marsmith.server.state import ServerState
from marsmith.torchserve.log_config import LogFormat

background_option = click.option("--background", is_flag=True, help="Return once it is ready.")
ready_timeout_option = click.option(
    "--timeout",
    metavar="SECONDS",
    type=Number(min=1),
    default=DEFAULT_TIMEOUT,
    show_default=True,
    help="Time limit for the models to load and to answer their samples.",
)
signature_option = click.option(
    "--require-signature",
    "public_key",
    metavar="PUBLIC_KEY",
    type=click.Path(path_type=Path),
    help="Serve only archives signed with this key (marsmith sign).",
)
fresh_option = click.option(
    "--fresh", is_flag=True, help="Serve the built archives, not the deployed versions."
)


@click.command(epilog=examples("marsmith serve", "marsmith serve digits --background --port 0"))
@click.argument("names", metavar="[NAME|FILE.mar]...", nargs=-1, shell_complete=complete_archives)
@click.option(
    "--port",
    metavar="N",
    type=click.IntRange(0, 65531),
    help="Ports: inference N, management N+1, metrics N+2, gRPC N+3 and N+4; 0: free ones.",
)
@background_option
@ready_timeout_option
@signature_option
@click.option("--secure", is_flag=True, help="Require an access token: marsmith token.")
@click.option("--tls", is_flag=True, help="Use TLS, with a self-signed certificate if none is set.")
@click.option(
    "--log-format",
    type=click.Choice(get_args(LogFormat)),
    default="text",
    show_default=True,
    help="Format of the server's log lines.",
)
@fresh_option
@click.option(
    "--fork/--no-fork",
    default=True,
    show_default=True,
    help="Fork workers from a process that has PyTorch loaded, or start each alone.",
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
    """Start TorchServe with the archives NAME, with all of archives.toml, or with files.

    A model is ready once it has returned the expected answers to its samples. One without samples
    is started, unproven. If other machines can reach the server, --secure is always on.
    """
    project = project_or_folder(context, names)
    warnings = [stale_warning(project, name) for name in names or project.archives]
    print_findings(filter(None, warnings))
    options = ServeOptions(names, port, timeout, public_key, secure, tls, log_format, fresh, fork)
    stopping = stop_command(context, project)
    run_server(project, options, TORCHSERVE, _print_ready, stopping, background=background)


def run_server(
    project: Project,
    options: ServeOptions,
    hosting: Hosting,
    print_ready: Callable[[ServerState, str], None],
    stopping: str,
    *,
    background: bool,
) -> None:
    """Serve until the user stops it, or until it is ready in the background."""
    what = "the gateway" if options.kind == "gateway" else "TorchServe"
    with working(f"starting {what}; waiting for the models to load") as progress:
        if not background:

            def ready(state: ServerState) -> None:
                progress.stop()
                print_ready(state, f"Ctrl-C, or {stopping}")

            if not serving.serve(project, options, ready, hosting):
                progress.say("stopped before it was ready")
                sys.exit(STOPPED)
            return
        outcome = serve_in_background(project, options, hosting)
    if isinstance(outcome, FailedStart):
        click.echo(outcome.printed, err=True, nl=False)
        sys.exit(outcome.status)
    print_ready(outcome, stopping)


def project_or_folder(context: click.Context, names: tuple[str, ...]) -> Project:
    """Return the project; files alone need none, and are served from the working directory."""
    try:
        return project_of(context)
    except ProjectError:
        if names and all(map(is_file, names)) and context.find_root().obj is None:
            return BareFolder(Path.cwd())
        raise


def stop_command(context: click.Context, project: Project) -> str:
    """Return what stops a server, up to its port, from the working directory."""
    given = context.find_root().obj
    folder = f" --project {shlex.quote(str(project.root))}" if given else ""
    return f"marsmith{folder} stop --port"


def print_models(state: ServerState) -> None:
    """Print which models are ready, with the warnings about them and the server."""
    for name in state.unproven:
        hint = f"record one: marsmith sample {name} INPUT"
        message = f"{name} has no sample, so its answers were not checked"
        print_warning(message, hint, rule="no-sample")
    for warning in state.warnings:
        print_warning(**warning)
    if state.restored:
        versions = ", ".join(state.restored)
        click.echo(f"as deployed: {versions}; --fresh serves the built archives")
    if proven := [name for name in state.models if name not in state.unproven]:
        click.echo(f"ready: {', '.join(proven)}")
    if state.unproven:
        click.echo(f"started, unproven: {', '.join(state.unproven)}")


def _print_ready(state: ServerState, stopping: str) -> None:
    print_models(state)
    for model in state.models:
        click.echo(f"  predict     {state.url}/predictions/{model}")
    click.echo(f"  management  {state.management_url}/models")
    click.echo(f"  metrics     {state.metrics_url}/metrics")
    if state.secure:
        click.echo("  token       marsmith token")
    if state.certificate:
        click.echo(f"  trust       {state.certificate}")
    click.echo(f"stop with: {stopping} {state.port}")


@click.command(epilog=examples("marsmith stop", "marsmith stop --port 8080"))
@port_option
@click.pass_context
def stop(context: click.Context, port: int | None) -> None:
    """Stop the running server of this project."""
    with working("stopping the server"):
        state = stop_server(project_of(context), port)
    click.echo(f"stopped the server on port {state.port}")
