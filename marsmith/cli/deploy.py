"""`marsmith deploy`, `rollback`, `versions`, `undeploy`: which version answers."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from marsmith.cli.models import WorkerCount
from marsmith.cli.options import Number, json_option, port_option, project_of
from marsmith.cli.output import print_json, print_table
from marsmith.deploy import rollout
from marsmith.deploy.options import (
    CanaryOptions,
    ChangeOptions,
    DeployOptions,
)
from marsmith.server.options import DEFAULT_TIMEOUT
from marsmith.server.version_record import Record, Version

_timeout_option = click.option(
    "--timeout",
    metavar="SECONDS",
    type=Number(min=1),
    default=DEFAULT_TIMEOUT,
    show_default=True,
    help="How long a version may take to load, and a request to be answered.",
)


class _Share(click.ParamType[float]):
    """`10%` or `0.1`, as a number 0…1."""

    name = "SHARE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        text = str(value)
        try:
            share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            self.fail(f"{text!r} is no share between 0% and 100%", param, ctx)
        return share


@click.command()
@click.argument("archive", metavar="NAME|FILE.mar")
@click.option("--version", metavar="V", help="Deploy a copy of it with this version instead.")
@click.option(
    "--require-signature",
    "--verify",
    "public_key",
    metavar="PUBLIC_KEY",
    type=click.Path(path_type=Path),
    help="Deploy only what the owner of this key signed: marsmith sign.",
)
@click.option(
    "--keep",
    metavar="N",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="How many versions besides the new one stay, for rollbacks.",
)
@click.option(
    "--workers",
    metavar="MIN[:MAX]",
    type=WorkerCount(least=1),
    help="How many workers it gets (default: as many as the version before).",
)
@click.option(
    "--canary",
    metavar="SHARE",
    type=_Share(),
    default="0%",
    help="First let it answer such a share of the kit's clients' requests, such as 10%.",
)
@click.option(
    "--canary-for",
    metavar="SECONDS",
    type=Number(min=1),
    help="For how long (default: 30); it must not fail more often, nor be slower.",
)
@click.option(
    "--canary-agreement",
    metavar="SHARE",
    type=_Share(),
    help="How many of its answers must agree with the version before, such as 90%.",
)
@click.option("--no-check", is_flag=True, help="Leave `marsmith check` out; its samples prove it.")
@_timeout_option
@port_option
@json_option
@click.pass_context
def deploy(
    context: click.Context,
    archive: str,
    version: str | None,
    public_key: Path | None,
    keep: int,
    workers: tuple[int, int] | None,
    canary: float,
    canary_for: float | None,
    canary_agreement: float | None,
    no_check: bool,
    timeout: float,
    port: int | None,
    as_json: bool,
) -> None:
    """Let an archive answer its model's requests from now on, without losing one.

    It is checked, registered beside what serves, proven there by its samples, and only then the
    default version; then the old one's requests are waited for. Whatever fails on the way, the
    server is as it was.
    """
    options = DeployOptions(
        port=port,
        timeout=timeout,
        version=version,
        public_key=public_key,
        keep=keep,
        workers=workers,
        canary=_canary(canary, canary_for, canary_agreement),
        checked=not no_check,
    )
    _print(rollout.deploy(project_of(context), archive, options, _tell), as_json=as_json)


@click.command()
@click.argument("name")
@_timeout_option
@port_option
@json_option
@click.pass_context
def rollback(
    context: click.Context, name: str, timeout: float, port: int | None, as_json: bool
) -> None:
    """Let the version of NAME that was the default before answer again, proven anew."""
    options = ChangeOptions(port, timeout)
    _print(rollout.rollback(project_of(context), name, options, _tell), as_json=as_json)


@click.command()
@click.argument("name", required=False)
@port_option
@json_option
@click.pass_context
def versions(context: click.Context, name: str | None, port: int | None, as_json: bool) -> None:
    """List the versions of NAME, or of all: which is the default, since when, whose it is."""
    _print(rollout.versions(project_of(context), name, port), as_json=as_json)


@click.command()
@click.argument("name")
@click.argument("version")
@_timeout_option
@port_option
@json_option
@click.pass_context
def undeploy(
    context: click.Context, name: str, version: str, timeout: float, port: int | None, as_json: bool
) -> None:
    """Forget a version of NAME, once its last request is answered."""
    project = project_of(context)
    options = ChangeOptions(port, timeout)
    _print(rollout.undeploy(project, name, version, options, _tell), as_json=as_json)


def _canary(share: float, seconds: float | None, agreement: float | None) -> CanaryOptions | None:
    options = {"seconds": seconds, "agreement": agreement}
    given = {name: value for name, value in options.items() if value is not None}
    if share:
        return CanaryOptions(share, **given)
    if given:
        raise click.UsageError(
            "--canary-for and --canary-agreement need --canary, such as --canary 10%"
        )
    return None


def _tell(words: str) -> None:
    click.echo(words, err=True)


def _print(record: Record, *, as_json: bool) -> None:
    if as_json:
        print_json([asdict(one) for one in record])
        return
    columns = ("name", "version", "default", "since", "workers", "sha256", "signature")
    print_table(columns, [_row(one) for one in record])


def _row(one: Version) -> tuple[object, ...]:
    default = "yes" if one.default else "no"
    moment = one.default_since if one.default else one.since
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
    signed = f"by {one.signed_by[:16]}" if one.signed_by else "not verified"
    workers = f"{one.min_workers}:{one.max_workers}"
    return one.name, one.version, default, since, workers, one.sha256[:12] or "unknown", signed
