"""`marsmith sign`, `marsmith verify-signature`, `marsmith new-key`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from marsmith.cli.options import archive_argument, archive_of
from marsmith.cli.output import examples
from marsmith.cli.progress import working
from marsmith.core.errors import SigningError
from marsmith.security import signatures
from marsmith.security.signing_keys import PASSWORD_VARIABLE, new_key_pair

_file = click.Path(path_type=Path)


@click.command(epilog=examples("marsmith sign digits --key release.key"))
@archive_argument
@click.option("--key", required=True, metavar="KEY", type=_file, help="The private key, as PEM.")
@click.pass_context
def sign(context: click.Context, archive: str, key: Path) -> None:
    """Sign an archive: write ARCHIVE.sig beside it, in OpenSSF's model signing format.

    ARCHIVE is a name in archives.toml, a .mar or a .tar.gz. The password of an encrypted key is
    taken from $MARSMITH_KEY_PASSWORD, or asked for.
    """
    written = signatures.sign(archive_of(context, archive).path, key, _password)
    click.echo(f"signed     {_shown(written)}")


@click.command(epilog=examples("marsmith verify-signature digits --key release.pub"))
@archive_argument
@click.option(
    "--key", required=True, metavar="PUBLIC_KEY", type=_file, help="The public key, as PEM."
)
@click.pass_context
def verify_signature(context: click.Context, archive: str, key: Path) -> None:
    """Check that the owner of a key signed this archive; exit status 1 if not."""
    path = archive_of(context, archive).path
    with working(f"verifying {path.name}"):
        known = signatures.verify(path, key)
    click.echo(f"verified   {_shown(path)}  signed by {key}  key {known[:16]}")


@click.command(epilog=examples("marsmith new-key release --encrypt"))
@click.argument("prefix", type=_file)
@click.option("--encrypt", is_flag=True, help="Encrypt the private key with a password.")
def new_key(prefix: Path, encrypt: bool) -> None:
    """Make a key pair: PREFIX.key for signing, and PREFIX.pub to give to others."""
    password = _new_password() if encrypt else None
    private, public = new_key_pair(prefix, password)
    click.echo(f"private    {private}  keep it secret and out of git")
    click.echo(f"public     {public}  for others, to verify your signatures")


def _password() -> str | None:
    """Return the password of a key, asked for on a terminal."""
    given = os.environ.get(PASSWORD_VARIABLE)
    if given is None and sys.stdin.isatty():
        given = click.prompt("password of the key", hide_input=True, err=True)
    return given


def _new_password() -> str:
    given = os.environ.get(PASSWORD_VARIABLE)
    if not given and sys.stdin.isatty():
        text = "password for the key"
        given = click.prompt(text, hide_input=True, confirmation_prompt=True, err=True)
    if not given:
        hint = f"set {PASSWORD_VARIABLE}, or run this in a terminal to be asked"
        message = "there is no password to encrypt the key with"
        raise SigningError(message, hint, code="no-password")
    return given


def _shown(path: Path) -> Path:
    """Return a path as short as it can be written from here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
