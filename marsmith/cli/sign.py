"""`marsmith sign`, `marsmith verify-signature`, `marsmith new-key`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from marsmith.cli.options import archive_of
from marsmith.core.errors import SigningError
from marsmith.security import signatures
from marsmith.security.signing_keys import PASSWORD_VARIABLE, new_key_pair

_file = click.Path(path_type=Path)


@click.command()
@click.argument("archive")
@click.option("--key", required=True, metavar="KEY", type=_file, help="The private key, PEM.")
@click.pass_context
def sign(context: click.Context, archive: str, key: Path) -> None:
    """Write ARCHIVE.sig beside an archive: OpenSSF's model signature of this one file.

    ARCHIVE is a name in archives.toml, a .mar or a .tar.gz. The password of an encrypted key is
    asked for, or taken from $MARSMITH_KEY_PASSWORD.
    """
    written = signatures.sign(archive_of(context, archive).path, key, _password)
    click.echo(f"signed     {_shown(written)}")


@click.command()
@click.argument("archive")
@click.option("--key", required=True, metavar="PUBLIC_KEY", type=_file, help="PEM.")
@click.pass_context
def verify_signature(context: click.Context, archive: str, key: Path) -> None:
    """Prove that an archive is what the owner of a key signed; exit 1 if it is not."""
    path = archive_of(context, archive).path
    known = signatures.verify(path, key)
    click.echo(f"verified   {_shown(path)}  signed by {key}  key {known[:16]}")


@click.command()
@click.argument("prefix", type=_file)
@click.option("--encrypt", is_flag=True, help="Protect the private key by a password.")
def new_key(prefix: Path, encrypt: bool) -> None:
    """Make a key pair: PREFIX.key, to sign with, and PREFIX.pub, to hand out."""
    password = _new_password() if encrypt else None
    private, public = new_key_pair(prefix, password)
    click.echo(f"private    {private}  keep it to yourself, and out of git")
    click.echo(f"public     {public}  whoever has it can verify what you sign")


def _password() -> str | None:
    """Return the password of a key, if there is anyone to say it."""
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
        hint = f"set {PASSWORD_VARIABLE}, or run this in a terminal, where you are asked"
        raise SigningError("there is no password to encrypt the key with", hint)
    return given


def _shown(path: Path) -> Path:
    """Return a path as short as it can be written from here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
