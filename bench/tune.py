"""How close `marsmith tune` comes to an exhaustive sweep, and in what share of its time.

Both measure the same space with the same load, the sweep every configuration in full. The best
four of the sweep and the winner of the search are then measured in turns, so that what the machine
does meanwhile falls on all of them; the ratio is to the best of the four in that round.
"""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median

import click

from bench.document import as_text
from bench.machine import machine
from bench.results import Comparison, Goal, Result, Series, Table, save
from marsmith.core.interrupts import stop_signals
from marsmith.project.project import Project
from marsmith.tune.conditions import Conditions
from marsmith.tune.measurements import Measurement
from marsmith.tune.search import Tuning
from marsmith.tune.space import Configuration, Space

_ROOT = Path(__file__).parents[1]
_COPIED = ("handlers", "model_defs", "weights", "samples", "archives.toml", "config.properties")
_FOLDER = _ROOT / ".marsmith" / "bench" / "tune"
_FINALS = 3  # in each of which every finalist has three rounds
_BEST = 4  # of the sweep's: whichever of them is best in the final counts as its winner


class Sweep(Tuning):
    """A search that can also measure a whole space, and chosen configurations in turns."""

    def sweep(self, space: Space, budget: float) -> bool:
        """Measure every configuration of a space in full; return whether all are measured."""
        end = time.perf_counter() + budget
        with self._server() as server:
            for configuration in space:
                if time.perf_counter() > end or self._stop.requested:
                    return False
                self._measure(server, configuration, best=0.0)
        return True

    def finals(self, candidates: Iterable[Configuration]) -> list[Measurement]:
        """Measure configurations in turns; return the medians of those that did not fail."""
        with self._server() as server:
            return self._finals(server, list(candidates))


@click.command()
@click.argument("name", default="digits")
@click.option("--p99", "goal", default=50.0, show_default=True, help="The goal, ms.")
@click.option("--sample", default="seven.png", show_default=True)
@click.option("--connections", default=64, show_default=True)
@click.option("--engine", "engines", multiple=True, help="Besides the present one.")
@click.option("--for", "seconds", default=1e9, help="Sweep so long, s; the rest another time.")
@click.option("--only", type=click.Choice(["sweep", "tune", "compare"]), help="One step.")
def tune(
    name: str,
    goal: float,
    sample: str,
    connections: int,
    engines: tuple[str, ...],
    seconds: float,
    only: str | None,
) -> None:
    """Hold `marsmith tune` against an exhaustive sweep of the same space."""
    conditions = Conditions(goal / 1000, connections, (sample,))
    with stop_signals() as stop:

        def tuning(step: str) -> Sweep:
            project = Project(_copy(step))
            return Sweep(
                project, name, conditions, budget=1e9, stop=stop, engines=engines, say=_say
            )

        swept, searched = tuning("sweep"), tuning("tune")
        space = swept.space()
        if only in (None, "sweep") and not swept.sweep(space, seconds):
            left = sum(swept.known.find(one) is None for one in space)
            click.echo(f"{left} of {len(list(space))} are left: run it again with --only sweep")
            return
        _replay(tuning("sweep"), list(space), goal / 1000)
        if only == "sweep":
            return
        if only in (None, "tune"):
            searched.known.path.unlink(missing_ok=True)
            searched.known.forget()
            started = time.perf_counter()
            searched.run()
            (_FOLDER / "seconds").write_text(str(time.perf_counter() - started))
        else:
            searched.run()  # from memory
        everything = [one for each in space if (one := swept.known.find(each))]
        _compare(swept, searched, everything, goal / 1000)


def _replay(search: Tuning, space: list[Configuration], goal: float) -> None:
    """Let the search ask the sweep's figures instead of a server: the same noise for both."""
    everything = [one for each in space if (one := search.known.find(each))]
    best = max(one.requests_per_second for one in everything if one.meets(goal))
    result = search.run(final=False)
    found = max(one.requests_per_second for one in result.measurements if one.meets(goal))
    part = sum(one.seconds for one in result.measurements) / sum(one.seconds for one in everything)
    click.echo(
        f"replayed on the sweep's figures: {len(result.measurements)} of {len(everything)} "
        f"configurations, {part:.2f} of its time, {found / best:.3f} of its best"
    )


def _compare(swept: Sweep, searched: Tuning, everything: list[Measurement], goal: float) -> None:
    sweep_seconds = sum(one.seconds for one in everything)
    tune_seconds = float((_FOLDER / "seconds").read_text())
    best = max((one for one in everything if one.meets(goal)), key=_throughput, default=None)
    found = searched.result.winner
    if best is None or found is None:
        raise click.ClickException("nothing met the goal: allow more, --p99")
    tried = len(searched.result.measurements)
    click.echo(f"sweep: {len(everything)} configurations, {sweep_seconds:.0f} s; {_told(best)}")
    click.echo(f"tune:  {tried} configurations, {tune_seconds:.0f} s; {_told(found)}")
    click.echo(f"time:  {tune_seconds / sweep_seconds:.2f} of the sweep's")
    order = sorted((one.requests_per_second for one in everything if one.meets(goal)), reverse=True)
    same = swept.known.find(found.configuration)
    if same is not None:
        ratio = same.requests_per_second / best.requests_per_second
        rank = sum(one > same.requests_per_second for one in order) + 1
        click.echo(f"by the sweep's own figures: {ratio:.3f} of its best, place {rank}")
    in_time = sorted((one for one in everything if one.meets(goal)), key=_throughput, reverse=True)
    chosen = [one.configuration for one in in_time[:_BEST]]
    ratios = []
    for _ in range(_FINALS):
        swept.known.forget()
        pair = swept.finals(dict.fromkeys([*chosen, found.configuration]))
        ours = next((one for one in pair if one.configuration == found.configuration), None)
        most = max(
            (one for one in pair if one.configuration in chosen), key=_throughput, default=None
        )
        if ours is not None and most is not None:
            ratios.append(ours.requests_per_second / most.requests_per_second)
            click.echo(f"in turns: {_told(most)}; {_told(ours)}; ratio {ratios[-1]:.3f}")
    if not ratios:
        raise click.ClickException("the finals failed: no figure is sure")
    _keep(ratios, tune_seconds, sweep_seconds, tried, len(everything))


def _keep(ratios: list[float], spent: float, whole: float, tried: int, count: int) -> None:
    """Keep the result for docs/explanation/benchmarks.md."""
    found = Goal("tune digits: requests/s of what it finds", "an exhaustive sweep", 0.95)
    time_of = Goal("tune digits: time, its final included", "an exhaustive sweep", 0.2, True)
    comparisons = [
        Comparison(found, "Marsmith", "the best four of the sweep, in turns", median(ratios)),
        Comparison(time_of, "Marsmith", "sweep", spent / whole),
    ]
    tables = [
        Table("what is found, in turns, beside the sweep's best", "x", [Series("tune", ratios)]),
        Table("time to find it", "s", [Series("tune", [spent]), Series("sweep", [whole])]),
    ]
    note = f"The search tried {tried} of {count} configurations; the sweep measured each in full."
    result = Result("tune", tables, comparisons, [note], machine=machine())
    result.date = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    words = [one for one in sys.argv[1:] if one != "tune"]
    result.command = shlex.join(["scripts/bench", "tune", *words])
    save(result)
    click.echo(as_text(result))


def _throughput(one: Measurement) -> float:
    return one.requests_per_second


def _told(one: Measurement) -> str:
    c = one.configuration
    setting = (
        f"{c.variant}, {c.workers} x {c.threads}, batch {c.batch_size}, {c.max_batch_delay} ms"
    )
    return f"{one.requests_per_second:,.0f}/s, p99 {one.p99 * 1000:.1f} ms ({setting})"


def _say(one: Measurement) -> None:
    click.echo(one.failure or _told(one), err=True)


def _copy(step: str) -> Path:
    """Return a copy of the project that remembers its measurements by itself."""
    root = _FOLDER / step
    root.mkdir(parents=True, exist_ok=True)
    for name in _COPIED:
        if (root / name).exists():
            continue
        if (_ROOT / name).is_dir():
            shutil.copytree(_ROOT / name, root / name)
        else:
            shutil.copy2(_ROOT / name, root / name)
    return root


if __name__ == "__main__":
    tune()
