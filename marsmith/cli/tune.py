"""`marsmith tune`: find the fastest way to serve an archive, and write it to archives.toml."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

from marsmith.cli.options import Number, calibrate_option, name_argument, project_of
from marsmith.cli.output import duration, echo, examples
from marsmith.cli.progress import working
from marsmith.cli.tuned import measured, none_fits, show
from marsmith.core.errors import ProjectError
from marsmith.core.interrupts import stop_signals
from marsmith.project.project import Project
from marsmith.project.spec import SPEC_FILE
from marsmith.tune import apply_winner
from marsmith.tune.conditions import Conditions
from marsmith.tune.engine_variants import ENGINES, Calibration
from marsmith.tune.measurements import Measurement
from marsmith.tune.search import Tuned, Tuning

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class _Duration(click.ParamType[float]):
    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read `50ms`, `1.5s`, `10m` or `1h` as seconds."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)", str(value).replace(" ", ""))
        if match is None or float(match[1]) == 0:
            self.fail(f"{value!r} is not a duration such as 50ms, 1.5s, 10m or 1h", param, ctx)
        return float(match[1]) * _UNITS[match[2]]


@click.command(
    epilog=examples(
        "marsmith tune digits --p99 50ms",
        "marsmith tune digits --p99 50ms --budget 30m --engine onnx --yes",
    )
)
@name_argument
@click.option("--p99", "goal", required=True, type=_Duration(), help="The highest allowed p99.")
@click.option("--budget", default="10m", show_default=True, type=_Duration(), help="Time limit.")
@click.option("--trials", type=click.IntRange(0), help="Try at most this many configurations.")
@click.option(
    "--connections",
    default=64,
    show_default=True,
    type=click.IntRange(1, 4096),
    help="Number of users; each waits for an answer before sending the next request.",
)
@click.option(
    "--sample",
    "samples",
    multiple=True,
    metavar="FILE",
    help="The sample to send; repeatable (default: all samples of the archive in turn).",
)
@click.option(
    "--engine",
    "engines",
    multiple=True,
    type=click.Choice(ENGINES),
    help="Try these engines besides the present one; repeatable (default: all installed).",
)
@calibrate_option
@click.option(
    "--agreement",
    default=Calibration.agreement,
    show_default=True,
    type=Number(0, 1),
    help="For int8: share of photos with the same answer as eager PyTorch.",
)
@click.option("--force", is_flag=True, help="Repeat earlier measurements.")
@click.option("--yes", is_flag=True, help="Write the fastest configuration without asking.")
@click.pass_context
def tune(
    context: click.Context,
    name: str,
    goal: float,
    budget: float,
    trials: int | None,
    connections: int,
    samples: tuple[str, ...],
    engines: tuple[str, ...],
    calibrate: Path | None,
    agreement: float,
    force: bool,
    yes: bool,
) -> None:
    """Find the engine, workers, threads and batching that serve NAME fastest on this machine.

    Fastest means most requests per second with p99 within the limit. Every answer under load must
    be correct. The result is written to archives.toml if you confirm the difference.
    """
    project = project_of(context)
    conditions = Conditions(goal, connections, samples)
    with stop_signals() as stop, working(f"measuring configurations of {name}") as progress:

        def say(measurement: Measurement) -> None:
            progress.say(measured(measurement))

        tuning = Tuning(
            project,
            name,
            conditions,
            budget=budget,
            trials=trials,
            stop=stop,
            engines=engines or ENGINES,
            calibration=Calibration(calibrate, agreement) if calibrate else None,
            say=say,
        )
        if force:
            tuning.known.forget()
        tuned = tuning.run()
    if tuned.stopped:
        click.echo(f"stopped; the measurements are kept in {_shown(project, tuning)}", err=True)
        sys.exit(130)
    show(project, name, tuned)
    click.echo(
        f"{len(tuned.measurements)} configurations in {duration(tuned.seconds)}, "
        f"{tuned.remembered} of them measured before: {_shown(project, tuning)}"
    )
    if calibrate is None and len(tuning.space().variants) > 1:
        click.echo("int8 was not tried; it needs photos: --calibrate FOLDER", err=True)
    if tuned.winner is None:
        raise none_fits(tuned)
    _offer(project, name, tuned, tuned.winner, yes)


def _shown(project: Project, tuning: Tuning) -> Path:
    return tuning.known.path.relative_to(project.root)


def _offer(project: Project, name: str, tuned: Tuned, winner: Measurement, yes: bool) -> None:
    """Show what the winner changes in archives.toml, and write it if the user confirms."""
    present = tuned.now.configuration if tuned.now else None
    now = next((one for one in tuned.finals if one.configuration == present), tuned.now)
    for word, one in (("winner", winner), ("at present", now)):
        if one is not None:
            rate, p99 = one.requests_per_second, one.p99 * 1000
            click.echo(f"{word}: {rate:,.1f} requests/s, p99 {p99:.1f} ms")
    if winner.configuration == present:
        click.echo(f"{SPEC_FILE} stays as it is: no configuration was better")
        return
    text = (project.root / SPEC_FILE).read_text(encoding="utf-8")
    changed = apply_winner.winning_text(text, tuned.spec, winner.configuration)
    lines = apply_winner.difference(text, changed)
    if not lines:
        click.echo(f"{SPEC_FILE} has this configuration already")
        return
    for line in lines:
        echo((line, {"+": "green", "-": "red"}.get(line[:1], "")))
    if not yes:
        if not sys.stdin.isatty():
            raise ProjectError(
                "this is not a terminal, so the question cannot be asked",
                "run the same command with --yes; nothing is measured twice",
                code="not-confirmed",
            )
        if not click.confirm(f"Write this into {SPEC_FILE}?"):
            click.echo("nothing was written", err=True)
            sys.exit(1)
    apply_winner.keep(project, name, winner.configuration, changed)
    click.echo(f"wrote {SPEC_FILE}, and built {name}")
