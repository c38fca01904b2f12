"""`marsmith tune`: search how an archive is served best, and write that into archives.toml."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

from marsmith.cli.options import Number, project_of
from marsmith.cli.tuned import none_fits, say, show
from marsmith.core.errors import ProjectError
from marsmith.core.interrupts import stop_signals
from marsmith.project.project import Project
from marsmith.project.spec import SPEC_FILE
from marsmith.tune import apply_winner
from marsmith.tune.engine_variants import ENGINES, Calibration
from marsmith.tune.load_trial import Conditions
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
            self.fail(f"{value!r} is no time: write 50ms, 1.5s, 10m or 1h", param, ctx)
        return float(match[1]) * _UNITS[match[2]]


@click.command()
@click.argument("name")
@click.option("--p99", "goal", required=True, type=_Duration(), help="What p99 must not exceed.")
@click.option("--budget", default="10m", show_default=True, type=_Duration(), help="Time to take.")
@click.option("--trials", type=click.IntRange(0), help="Try at most so many configurations.")
@click.option(
    "--connections",
    default=64,
    show_default=True,
    type=click.IntRange(1, 4096),
    help="How many users there are, each of whom waits for an answer before asking again.",
)
@click.option(
    "--sample",
    "samples",
    multiple=True,
    metavar="FILE",
    help="The sample that makes the load; repeatable (default: all of the archive's, in turn).",
)
@click.option(
    "--engine",
    "engines",
    multiple=True,
    type=click.Choice(ENGINES),
    help="Try these engines besides the present one; repeatable (default: all installed).",
)
@click.option(
    "--calibrate",
    metavar="FOLDER",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Photos: int8 is tried too, calibrated on some, and others tell how well it agrees.",
)
@click.option(
    "--agreement",
    default=Calibration.agreement,
    show_default=True,
    type=Number(0, 1),
    help="Of int8: share of those others that must be answered as eager does.",
)
@click.option("--force", is_flag=True, help="Measure again what was measured before.")
@click.option("--yes", is_flag=True, help="Write the winner without asking.")
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
    """Search the engine, workers, threads and batching that serve NAME best on this machine.

    Best is what answers most requests per second with p99 within the goal. Each answer under load
    must be right. The winner goes into archives.toml, if you say yes to the difference.
    """
    project = project_of(context)
    conditions = Conditions(goal, connections, samples)
    with stop_signals() as stop:
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
        click.echo(f"stopped; what was measured is kept in {_shown(project, tuning)}", err=True)
        sys.exit(130)
    show(project, name, tuned)
    click.echo(
        f"{len(tuned.measurements)} configurations in {tuned.seconds:.0f} s, "
        f"{tuned.remembered} of them measured before: {_shown(project, tuning)}"
    )
    if calibrate is None and len(tuning.space().variants) > 1:
        click.echo("int8 was not tried, which takes photos: --calibrate FOLDER", err=True)
    if tuned.winner is None:
        raise none_fits(tuned)
    _offer(project, name, tuned, tuned.winner, yes)


def _shown(project: Project, tuning: Tuning) -> Path:
    return tuning.known.path.relative_to(project.root)


def _offer(project: Project, name: str, tuned: Tuned, winner: Measurement, yes: bool) -> None:
    """Show what the winner changes in archives.toml, and write it if the user wants that."""
    present = tuned.now.configuration if tuned.now else None
    now = next((one for one in tuned.finals if one.configuration == present), tuned.now)
    for word, one in (("winner", winner), ("as it is", now)):
        if one is not None:
            rate, p99 = one.requests_per_second, one.p99 * 1000
            click.echo(f"{word}: {rate:,.1f} requests/s, p99 {p99:.1f} ms")
    if winner.configuration == present:
        click.echo(f"{SPEC_FILE} stays as it is: nothing that was tried is better")
        return
    text = (project.root / SPEC_FILE).read_text(encoding="utf-8")
    changed = apply_winner.winning_text(text, tuned.spec, winner.configuration)
    lines = apply_winner.difference(text, changed)
    if not lines:
        click.echo(f"{SPEC_FILE} has it already")
        return
    for line in lines:
        click.echo(click.style(line, fg={"+": "green", "-": "red"}.get(line[:1])))
    if not yes:
        if not sys.stdin.isatty():
            raise ProjectError(
                "nobody is there to say yes",
                "write it: the same with --yes; nothing is measured twice",
            )
        if not click.confirm(f"Write this into {SPEC_FILE}?"):
            click.echo("nothing was written", err=True)
            sys.exit(1)
    apply_winner.keep(project, name, winner.configuration, changed)
    click.echo(f"wrote {SPEC_FILE}, and built {name}")
