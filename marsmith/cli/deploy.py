"""`marsmith deploy`, `rollback`, `versions`, `undeploy`: which version serves."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from marsmith.cli.completion import complete_archives, complete_names
from marsmith.cli.models import WorkerCount
from marsmith.cli.options import Number, json_option, name_argument, port_option, project_of
from marsmith.cli.output import examples, print_json
from marsmith.cli.progress import working
from marsmith.cli.tables import print_table
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
    help="Time limit for a version to load, and for each request.",
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
            self.fail(f"{text!r} is not a share between 0% and 100%", param, ctx)
        return share


@click.command(
    epilog=examples(
        "marsmith deploy digits",
        "marsmith deploy digits-1.1.mar --canary 10% --canary-for 60",
    )
)
@click.argument("archive", metavar="NAME|FILE.mar", shell_complete=complete_archives)
@click.option("--version", metavar="V", help="Deploy a copy with this version instead.")
@click.option(
    "--require-signature",
    "--verify",
    "public_key",
    metavar="PUBLIC_KEY",
    type=click.Path(path_type=Path),
    help="Deploy only if this key verifies the archive's signature (marsmith sign).",
)
@click.option(
    "--keep",
    metavar="N",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Number of old versions to keep for rollbacks.",
)
@click.option(
    "--workers",
    metavar="MIN[:MAX]",
    type=WorkerCount(least=1),
    help="Number of workers (default: as many as the previous version).",
)
@click.option(
    "--canary",
    metavar="SHARE",
    type=_Share(),
    default="0%",
    help="First send it this share of the requests that pass a gateway, such as 10%.",
)
@click.option(
    "--canary-for",
    metavar="SECONDS",
    type=Number(min=1),
    help="Length of the canary (default: 30); failing more often or slower ends it.",
)
@click.option(
    "--canary-wait",
    metavar="SECONDS",
    type=Number(min=0),
    help="Wait so long for more requests if there were too few to judge it (default: 0).",
)
@click.option(
    "--canary-agreement",
    metavar="SHARE",
    type=_Share(),
    help="Share of its answers that must agree with the previous version, such as 90%.",
)
@click.option(
    "--no-check",
    is_flag=True,
    help="Skip `marsmith check`; samples, or made-up requests, are still tried.",
)
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
    canary_wait: float | None,
    canary_agreement: float | None,
    no_check: bool,
    timeout: float,
    port: int | None,
    as_json: bool,
) -> None:
    """Switch a running server to a new version without losing a request.

    The archive is checked, registered beside the current version, and tried with its samples. Only
    then it becomes the default version, and the old one finishes its requests. If any step fails,
    the server stays as it was.
    """
    options = DeployOptions(
        port=port,
        timeout=timeout,
        version=version,
        public_key=public_key,
        keep=keep,
        workers=workers,
        canary=_canary(canary, seconds=canary_for, wait=canary_wait, agreement=canary_agreement),
        checked=not no_check,
    )
    with working(f"deploying {archive}") as progress:
        record = rollout.deploy(project_of(context), archive, options, progress.tell)
    _print(record, as_json=as_json)


@click.command(epilog=examples("marsmith rollback digits"))
@name_argument
@_timeout_option
@port_option
@json_option
@click.pass_context
def rollback(
    context: click.Context, name: str, timeout: float, port: int | None, as_json: bool
) -> None:
    """Switch NAME back to the previous default version, once its samples pass again."""
    options = ChangeOptions(port, timeout)
    with working(f"rolling back {name}") as progress:
        record = rollout.rollback(project_of(context), name, options, progress.tell)
    _print(record, as_json=as_json)


@click.command(epilog=examples("marsmith versions digits"))
@click.argument("name", required=False, shell_complete=complete_names)
@port_option
@json_option
@click.pass_context
def versions(context: click.Context, name: str | None, port: int | None, as_json: bool) -> None:
    """List the versions of NAME, or of all models: the default, since when, who signed it."""
    _print(rollout.versions(project_of(context), name, port), as_json=as_json)


@click.command(epilog=examples("marsmith undeploy digits 1.0"))
@name_argument
@click.argument("version")
@_timeout_option
@port_option
@json_option
@click.pass_context
def undeploy(
    context: click.Context, name: str, version: str, timeout: float, port: int | None, as_json: bool
) -> None:
    """Unregister a version of NAME once its last request is answered."""
    project, options = project_of(context), ChangeOptions(port, timeout)
    with working(f"undeploying {name} {version}") as progress:
        record = rollout.undeploy(project, name, version, options, progress.tell)
    _print(record, as_json=as_json)


def _canary(share: float, **options: float | None) -> CanaryOptions | None:
    given = {name: value for name, value in options.items() if value is not None}
    if share:
        return CanaryOptions(share, **given)
    if given:
        raise click.UsageError(
            "--canary-for, --canary-wait and --canary-agreement need --canary, such as 10%"
        )
    return None


def _print(record: Record, *, as_json: bool) -> None:
    if as_json:
        print_json([asdict(one) for one in record])
        return
    columns = ("name", "version", "default", "since", "workers", "sha256", "signature")
    print_table(columns, [_row(one) for one in record], fold=("signature",))


def _row(one: Version) -> tuple[object, ...]:
    default = "yes" if one.default else "no"
    moment = one.default_since if one.default else one.since
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))
    signed = f"by {one.signed_by[:16]}" if one.signed_by else "unverified"
    workers = f"{one.min_workers}:{one.max_workers}"
    return one.name, one.version, default, since, workers, one.sha256[:12] or "unknown", signed
