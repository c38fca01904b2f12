"""`marsmith token`, `marsmith certificate`: access to a secured server."""

from __future__ import annotations

from pathlib import Path

import click

from marsmith.cli.options import port_option, project_of
from marsmith.cli.output import examples
from marsmith.client.tokens import Api
from marsmith.security.self_signed import DEFAULT_DAYS, new_certificate
from marsmith.server import lookup


@click.command(
    epilog=examples(
        "marsmith token --header | curl -H @- http://127.0.0.1:8080/predictions/NAME -T FILE",
        "marsmith token management --header | curl -H @- http://127.0.0.1:8081/models",
    )
)
@click.argument("api", default="inference", type=click.Choice(["inference", "management"]))
@click.option("--header", is_flag=True, help="Print the whole HTTP header.")
@port_option
@click.pass_context
def token(context: click.Context, api: Api, header: bool, port: int | None) -> None:
    """Print a server's current access token; it changes about once an hour.

    Other users of this machine can see command arguments, so pass it on standard input.
    """
    key = lookup.token(project_of(context), api, port)
    click.echo(f"Authorization: Bearer {key}" if header else key)


@click.command(epilog=examples("marsmith certificate --host models.example.org"))
@click.option(
    "--host",
    "hosts",
    metavar="NAME",
    multiple=True,
    help="Also valid for this host or address.",
)
@click.option(
    "--days",
    metavar="N",
    type=click.IntRange(1, 825),
    default=DEFAULT_DAYS,
    show_default=True,
    help="How long it is valid.",
)
@click.option(
    "--out",
    "prefix",
    metavar="PREFIX",
    type=click.Path(path_type=Path),
    help="Write PREFIX.key and PREFIX.pem (default: in .marsmith/tls, where serve --tls looks).",
)
@click.pass_context
def certificate(
    context: click.Context, hosts: tuple[str, ...], days: int, prefix: Path | None
) -> None:
    """Make a self-signed TLS certificate for development, and its private key.

    It is valid for localhost and 127.0.0.1.
    """
    place = prefix or project_of(context).state_folder("tls") / "development"
    key, public = new_certificate(place, hosts, days)
    click.echo(f"private_key_file={key}")
    click.echo(f"certificate_file={public}")
