"""`marsmith gateway key`: keys that last, for those who may send requests."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from pathlib import Path

import click

from marsmith.cli.options import Number, json_option, project_of
from marsmith.cli.output import echo, examples, print_json
from marsmith.gateway.access.exposure import key_file
from marsmith.gateway.access.key_store import KeyStore
from marsmith.gateway.access.keys import (
    Key,
    Limits,
    key_values,
    new_key,
    parse_lifetime,
    parse_scope,
)

keys_option = click.option(
    "--keys",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file of keys, which several gateways may share (default: the project's own).",
)


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
@keys_option
@json_option
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
    as_json: bool,
) -> None:
    """Make a key and print it, once: only its SHA-256 is kept.

    Send it as `Authorization: Bearer KEY` or `x-api-key: KEY`.
    """
    made, token = new_key(
        name,
        map(parse_scope, scopes),
        time.time(),
        parse_lifetime(expires),
        Limits(rate, concurrent, bytes_),
    )
    _store(context, keys).add(made)
    if as_json:
        print_json(_shown(made) | {"key": token})
        return
    click.echo(token)
    click.echo(f"key {made.id} {name}: {_told(made)}. It is shown only now.", err=True)


@key.command("list")
@keys_option
@json_option
@click.pass_context
def list_(context: click.Context, keys: Path | None, as_json: bool) -> None:
    """List the keys: names, scopes, limits, and until when they are good."""
    found = _store(context, keys).read()
    if as_json:
        print_json([_shown(one) for one in found])
        return
    width = max((len(one.name) for one in found), default=0)
    for one in found:
        click.echo(f"{one.name:<{width}}  {one.id}  {_told(one)}")
    if not found:
        echo("there are no keys; make one: marsmith gateway key add NAME --scope predict", err=True)


@key.command()
@click.argument("name")
@keys_option
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


def _told(one: Key) -> str:
    limits = one.limits
    words = [", ".join(map(str, one.scopes)), _until(one)]
    words += [f"{limits.rate:g} requests/s"] if limits.rate else []
    words += [f"{limits.concurrent} at once"] if limits.concurrent else []
    words += [f"{limits.bytes_per_second:g} bytes/s"] if limits.bytes_per_second else []
    return "; ".join(words)


def _until(one: Key) -> str:
    if one.expires is None:
        return "never expires"
    day = datetime.fromtimestamp(one.expires, timezone.utc)
    return f"{'expired' if one.expires <= time.time() else 'until'} {day:%Y-%m-%d %H:%M} UTC"


def _shown(one: Key) -> dict[str, object]:
    values = key_values(one)
    del values["digest"]
    return values
