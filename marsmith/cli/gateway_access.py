"""Options of `marsmith gateway` that say who is let in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from marsmith.cli.gateway_keys import keys_option

_Command = TypeVar("_Command", bound=Callable[..., Any])

_OPTIONS = [
    click.option("--secure", is_flag=True, help="Ask for keys on this machine too."),
    click.option(
        "--tls", is_flag=True, help="Encrypt; without a certificate, make one in .marsmith/tls."
    ),
    keys_option,
    click.option(
        "--behind-proxy",
        metavar="ADDRESS",
        multiple=True,
        help="A proxy, or a network of them, that encrypts; its X-Forwarded-For is believed.",
    ),
    click.option(
        "--allow-host",
        "allow_hosts",
        metavar="NAME",
        multiple=True,
        help="Answer to this name in the header Host, too.",
    ),
    click.option(
        "--cors-origin",
        "cors_origins",
        metavar="ORIGIN",
        multiple=True,
        help="Let pages of this site send requests: https://example.org.",
    ),
    click.option("--otel", is_flag=True, help="Send spans over OTLP, as the OTEL_… variables say."),
]


def access_options(command: _Command) -> _Command:
    """Add these options, named as the fields of GatewayOptions."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
