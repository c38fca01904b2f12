"""`marsmith gateway key`, and the options of `marsmith gateway` on who is let in."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

import click

from marsmith.cli.options import Number, json_option, project_of
from marsmith.cli.output import examples, print_json
from marsmith.gateway.access.exposure import key_file
from marsmith.gateway.access.key_store import KeyStore
from marsmith.gateway.access.keys import Limits, key_values, new_key, parse_lifetime, parse_scope

_Command = TypeVar("_Command", bound=Callable[..., Any])
_keys_option = click.option(
    "--keys",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file of keys, which several gateways may share (default: the project's own).",
)
_FLAGS = {
    "--secure": "Ask for keys on this machine too.",
    "--tls": "Encrypt; without a certificate, make one in .marsmith/tls.",
    "--otel": "Send spans over OTLP, as the OTEL_… variables say.",
}
# Option → its field in GatewayOptions, what it takes, its help.
_REPEATED = {
    "--behind-proxy": (
        "behind_proxy",
        "ADDRESS",
        "A proxy, or a network of them, that encrypts; its X-Forwarded-For is believed.",
    ),
    "--allow-host": ("allow_hosts", "NAME", "Answer to this name in the header Host, too."),
    "--cors-origin": (
        "cors_origins",
        "ORIGIN",
        "Let pages of this site ask models: https://example.org.",
    ),
}


def access_options(command: _Command) -> _Command:
    """Add options on who is let in, named as the fields of GatewayOptions."""
    for name, (field, metavar, text) in _REPEATED.items():
        command = click.option(name, field, metavar=metavar, multiple=True, help=text)(command)
    for name, text in _FLAGS.items():
        command = click.option(name, is_flag=True, help=text)(command)
    return _keys_option(command)


@click.group()
def key() -> None:
    """Make, list and revoke the keys of gateways.

    A gateway needs keys at addresses that other machines reach, and with --secure.
    """


@key.command(
    epilog=examples(
        "marsmith gateway key add ci --scope predict --expires 90d",
        "marsmith gateway key add phone --scope predict:digits --rate 5 --concurrent 2",
    )
)
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    metavar="SCOPE",
    multiple=True,
    required=True,
    help="predict, feedback or manage (which includes them); for one model: predict:MODEL.",
)
@click.option(
    "--expires", metavar="TIME", default="90d", show_default=True, help="90d, 12h, 30m or never."
)
@click.option("--rate", metavar="N", type=Number(min=0.001), help="At most N requests a second.")
@click.option("--concurrent", metavar="N", type=click.IntRange(1), help="At most N at once.")
@click.option(
    "--bytes", "bytes_", metavar="N", type=Number(min=1), help="N bytes of bodies a second."
)
@_keys_option
@click.pass_context
def add(
    context: click.Context,
    name: str,
    scopes: tuple[str, ...],
    expires: str,
    rate: float | None,
    concurrent: int | None,
    bytes_: float | None,
    keys: Path | None,
) -> None:
    """Make a key and print it, once: only its SHA-256 is kept.

    Send it as `Authorization: Bearer KEY` or `x-api-key: KEY`.
    """
    limits = Limits(rate, concurrent, bytes_)
    given = map(parse_scope, scopes)
    made, token = new_key(name, given, time.time(), parse_lifetime(expires), limits)
    _store(context, keys).add(made)
    click.echo(token)


@key.command("list")
@_keys_option
@json_option
@click.pass_context
def list_(context: click.Context, keys: Path | None, as_json: bool) -> None:
    """List the keys: id, name, scopes, limits, and until when each is good."""
    store = KeyStore(keys.absolute() if keys else key_file(project_of(context)))
    found = store.read()
    if as_json:
        print_json([key_values(one) | {"digest": None} for one in found])
        return
    for one in found:
        scopes = ", ".join(map(str, one.scopes))
        told = [one.id, one.name, scopes, _limits(one.limits), _end(one.expires)]
        click.echo("  ".join(filter(None, told)))


@key.command()
@click.argument("name")
@_keys_option
@click.pass_context
def revoke(context: click.Context, name: str, keys: Path | None) -> None:
    """Revoke the key with this name or id; running gateways refuse it within a second."""
    _store(context, keys).revoke(name)
    click.echo(f"revoked    {name}")


def _store(context: click.Context, keys: Path | None) -> KeyStore:
    if keys is not None:
        return KeyStore(keys.absolute())
    project = project_of(context)
    project.state_folder("gateway")  # make it
    return KeyStore(key_file(project))


def _limits(limits: Limits) -> str:
    units = {
        "requests/s": limits.rate,
        "at once": limits.concurrent,
        "bytes/s": limits.bytes_per_second,
    }
    return ", ".join(f"{most:.15g} {unit}" for unit, most in units.items() if most is not None)


def _end(expires: float | None) -> str:
    if expires is None:
        return "never expires"
    day = datetime.fromtimestamp(expires, timezone.utc)
    return f"{'expired' if expires <= time.time() else 'until'} {day:%Y-%m-%d %H:%M} UTC"
