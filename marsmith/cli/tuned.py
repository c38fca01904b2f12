"""How a search is shown: each measurement as it is made, the frontier, why nothing fits."""

from __future__ import annotations

import click

from marsmith.cli.output import plain
from marsmith.cli.tables import print_table
from marsmith.core.atomic_write import replacing
from marsmith.core.errors import ServerError
from marsmith.project.project import Project
from marsmith.tune.measurements import Measurement
from marsmith.tune.pareto import Point, as_svg, frontier, in_characters
from marsmith.tune.search import Tuned

_COLUMNS = ("requests/s", "p99 ms", "p50 ms", "engine", "workers", "threads", "batch", "delay ms")

_NUMBERS = tuple(name for name in _COLUMNS if name != "engine")


def measured(measurement: Measurement) -> str:
    """Return a measurement in one line."""
    cells = ", ".join(f"{a} {b}" for a, b in zip(_COLUMNS[3:], _setting(measurement), strict=True))
    if measurement.failure is not None:
        return plain(f"fails       {cells}: {measurement.failure}")
    early = "" if measurement.complete else ", stopped early"
    rate, p99 = measurement.requests_per_second, measurement.p99 * 1000
    return f"{rate:8,.1f}/s  p99 {p99:6,.1f} ms  {cells}{early}"


def _setting(measurement: Measurement) -> tuple[object, ...]:
    one = measurement.configuration
    threads = "-" if one.threads is None else one.threads
    return str(one.variant), one.workers, threads, one.batch_size, one.max_batch_delay


def show(project: Project, name: str, tuned: Tuned) -> None:
    """Print the frontier as a table and a plot, and write it as a picture."""
    sound = [one for one in tuned.measurements if one.failure is None and one.p99]
    best = tuned.winner.configuration if tuned.winner else None
    points = [Point(one.requests_per_second, one.p99, one.configuration == best) for one in sound]
    if tuned.finals:
        click.echo("the best configurations, measured again in turns:")
        print_table(
            _COLUMNS,
            [_row(one) for one in tuned.finals if one.failure is None],
            right=_NUMBERS,
        )
        click.echo()
    click.echo("the frontier: no other one has more requests per second and a lower p99:")
    print_table(_COLUMNS, [_row(sound[place]) for place in frontier(points)], right=_NUMBERS)
    click.echo()
    click.echo(in_characters(points, tuned.goal))
    names = [", ".join(map(str, _setting(one))) for one in sound]
    picture = project.state_folder("tune") / f"{name}.svg"
    with replacing(picture) as file:
        file.write(as_svg(f"{name}: requests/s against p99", points, names, tuned.goal).encode())
    click.echo(f"as a picture: {picture.relative_to(project.root)}")


def _row(one: Measurement) -> tuple[object, ...]:
    figures = f"{one.requests_per_second:,.1f}", f"{one.p99 * 1000:.1f}", f"{one.p50 * 1000:.1f}"
    return (*figures, *_setting(one))


def none_fits(tuned: Tuned) -> ServerError:
    sound = [one for one in tuned.finals or tuned.measurements if one.failure is None]
    least = min(sound, key=lambda one: one.p99)
    once = "those that did at first did not when measured again; " if tuned.finals else ""
    return ServerError(
        f"no configuration that was tried keeps p99 within {tuned.goal * 1000:g} ms: "
        f"{once}the lowest was {least.p99 * 1000:.1f} ms, "
        f"at {least.requests_per_second:,.1f} requests/s",
        "allow a higher p99 (--p99), fewer users (--connections), or more time (--budget)",
        code="goal-missed",
    )
