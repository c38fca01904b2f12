"""`scripts/bench`: everything that the documentation says about speed comes from here."""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path
from types import FrameType

import click

from bench import document
from bench.failures import BenchError
from bench.load import require_wrk
from bench.places import DIGITS, PHOTOS
from bench.results import Result
from bench.rounds import FULL, QUICK, Effort
from bench.trials import TRIALS, run, run_quick


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, metavar="[quick | document | TRIAL]...")
@click.option("--list", "listed", is_flag=True, help="List the trials.")
@click.option("--rounds", type=click.IntRange(1), help="Timed rounds instead of the usual ones.")
@click.option(
    "--photos",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Photos that int8 is calibrated on, and others that it has never seen.",
)
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Digits to send: IDX files with labels, or at least 200 pictures.",
)
@click.option("--seconds", type=click.FloatRange(1), help="Length of each, under load.")
def cli(
    names: tuple[str, ...],
    listed: bool,
    rounds: int | None,
    seconds: float | None,
    photos: Path | None,
    data: Path | None,
) -> None:
    """Measure Marsmith beside what a user would pick instead, in one run, in alternating rounds.

    Without a name: all trials, in about half an hour, then docs/explanation/benchmarks.md and
    profiles.md are written. A trial that fails is told, and the others go on. `quick`: the digits
    alone, in three minutes. `document`: writes those pages again from the stored results.
    `tune --help`: how near `marsmith tune` comes to an exhaustive sweep.
    """
    if listed:
        for name, trial in TRIALS.items():
            click.echo(f"{name:16} {trial.summary}")
        return
    _require_known(names)
    if names == ("document",):
        document.write()
        return
    require_wrk()
    for place, folder in ((PHOTOS, photos), (DIGITS, data)):
        if folder:
            _use(folder, place)
    if names == ("quick",):
        results = [run_quick(_effort(QUICK, rounds, seconds))]
    else:
        effort = _effort(FULL, rounds, seconds)
        results = [run(name, effort) for name in names or TRIALS]
    for result in results:
        click.echo(document.as_text(result))
    if not names:
        document.write()
    sys.exit(0 if all(_reached(result) for result in results) else 1)


def _use(folder: Path, place: Path) -> None:
    """Let the trials find that folder, now and later."""
    if place.is_symlink():
        place.unlink()
    elif place.exists():
        shutil.rmtree(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(folder.resolve())


def _effort(usual: Effort, rounds: int | None, seconds: float | None) -> Effort:
    return Effort(rounds or usual.rounds, seconds or usual.seconds, usual.warm_up)


def _require_known(names: tuple[str, ...]) -> None:
    alone = {("quick",), ("document",)}
    unknown = [name for name in names if name not in TRIALS]
    if names not in alone and unknown:
        raise BenchError(f"there is no trial {unknown[0]!r}", "see: scripts/bench --list")


def _reached(result: Result) -> bool:
    return bool(result.tables) and all(one.reached for one in result.comparisons)


def _end(_: int, __: FrameType | None) -> None:
    sys.exit(143)  # as an exception, so that every server is stopped on the way out


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    if sys.argv[1:2] == ["tune"]:  # a measurement with options of its own
        from bench.tune import tune

        tune(sys.argv[2:], prog_name="scripts/bench tune")
    cli()
