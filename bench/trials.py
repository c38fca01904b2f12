"""All trials by name, in the order in which they run."""

from __future__ import annotations

import shlex
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import click

from bench import (
    build,
    engines,
    figure,
    first_model,
    front_end,
    gateway,
    gpu,
    growth,
    http_trials,
    jpeg,
    memory,
    profiles,
    start,
    stock_settings,
)
from bench.failures import TooLongError
from bench.machine import machine
from bench.peer_servers import PEERS
from bench.results import Result, save
from bench.rounds import Effort

_LONGEST = 600.0  # seconds of a trial


@dataclass(frozen=True)
class Trial:
    """One measurement that gives rows of the table."""

    summary: str
    run: Callable[[Effort], Result]
    most_rounds: int = 100  # fewer where each round starts servers, to keep the whole run short


TRIALS: dict[str, Trial] = {
    "digits": Trial("digits, 64 connections, against TorchServe and the peers", http_trials.digits),
    "figure": Trial("digits read right, and the cost of finding the figure", figure.figure),
    "stock": Trial(
        "why TorchServe's own rate swings, and its best settings", stock_settings.stock, 2
    ),
    "one-connection": Trial("digits, p50 of one connection", http_trials.one_connection),
    "resnet18": Trial("ResNet-18 on photos, against TorchServe and peers", http_trials.resnet18),
    "resnet18-engine": Trial(
        "ResNet-18, peers with the same engine, and the engine alone", http_trials.resnet18_engine
    ),
    "rotation": Trial("rotation on photos, against TorchServe", http_trials.rotation),
    "cartoon": Trial("photos to cartoons, against TorchServe", http_trials.cartoon),
    "jpeg": Trial("a JPEG of 12 megapixels to a tensor", jpeg.jpeg),
    "build": Trial("an archive of 300 MB, against torch-model-archiver", build.build),
    "start": Trial("from the start to the first right answer, against TorchServe", start.start),
    "first-model": Trial(
        "from a .pth to the first answer, against LitServe and BentoML", first_model.first_model, 2
    ),
    "memory": Trial("memory of a further worker, against TorchServe's", memory.memory),
    "engines": Trial("ResNet-18 by each engine alone", engines.engines),
    "gateway": Trial("the gateway, against marsmith serve and peers", gateway.gateway),
    "gpu": Trial("ResNet-50 on a GPU, against eager PyTorch fed by Pillow", gpu.gpu),
    "front-end": Trial("settings of TorchServe's front end", front_end.front_end, 2),
    "profiles": Trial("where the time goes in what falls short", profiles.profiles),
    "growth": Trial("how the cost grows with connections, models and sizes", growth.growth, 2),
}


def run(name: str, effort: Effort) -> Result:
    """Run a trial and keep its result; whatever goes wrong is its result as well."""
    click.echo(f"{time.strftime('%H:%M:%S')} {name}: {TRIALS[name].summary}", err=True)
    try:
        with _at_most(_LONGEST):
            result = TRIALS[name].run(_limited(effort, TRIALS[name]))
    except Exception as error:  # one trial's failure is no reason to lose the others
        told = str(error) or type(error).__name__
        click.echo(f"  not measured: {told}", err=True)
        result = Result(name, notes=[f"Not measured: {told}"])
    result.date = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    words = ["scripts/bench", name, "--rounds", str(effort.rounds)]
    result.command = shlex.join([*words, "--seconds", f"{effort.seconds:g}"])
    result.machine = machine()
    save(result)
    return result


def _limited(effort: Effort, trial: Trial) -> Effort:
    return replace(effort, rounds=min(effort.rounds, trial.most_rounds))


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raise TooLongError in the block when the time is over; its servers are stopped on the way."""

    def end(_: int, __: object) -> None:
        raise TooLongError(f"it took more than {seconds / 60:.0f} minutes")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run_quick(effort: Effort) -> Result:
    """Measure the digits against what matters most; the result is not kept."""
    click.echo("digits, against TorchServe, FastAPI and Flask", err=True)
    return http_trials.digits(effort, PEERS[:3])
