"""Measure the best configurations again, served side by side and loaded in turns.

The best of many noisy measurements is too good, and other work of the machine disturbs some
configurations and not others. In turns it disturbs all of them, and medians ignore it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median

from marsmith.core.errors import ServerError
from marsmith.tune.conditions import Conditions
from marsmith.tune.load_trial import Trial, measured
from marsmith.tune.measurements import Measurement
from marsmith.tune.space import Configuration
from marsmith.tune.trial_server import TrialServer

ROUND = 1.0  # seconds of load on each of them
_ROUNDS = 3


def measure_in_turns(
    server: TrialServer,
    chosen: Sequence[Configuration],
    conditions: Conditions,
    stop: Callable[[], bool],
    cold: bool,
) -> list[Measurement]:
    """Return the medians of several rounds for each configuration; nothing if the user stops.

    `cold` means that the server was not loaded before.
    """
    trials: list[tuple[Configuration, Trial]] = []
    try:
        for configuration in chosen:
            archive = server.serve(configuration)
            if archive is None:
                return []
            trial = Trial(server, archive, conditions, stop)
            trials.append((configuration, trial))
            trial.warm(cold=cold)
            trial.rest()
            cold = False
        return _rounds(trials, stop)
    except ServerError:
        return []  # a worker that loaded before fails now, so no measurement is reliable
    finally:
        for _, trial in trials:
            trial.close()


def _rounds(
    trials: list[tuple[Configuration, Trial]], stop: Callable[[], bool]
) -> list[Measurement]:
    rounds: dict[Configuration, list[Measurement]] = {one: [] for one, _ in trials}
    for _ in range(_ROUNDS):
        for configuration, trial in trials:
            result = trial.slice(ROUND)
            if stop():
                return []
            trial.rest()
            failure = trial.failure(result)
            rounds[configuration].append(measured(configuration, result, result.seconds, failure))
    return [_median(several) for several in rounds.values()]


def _median(rounds: list[Measurement]) -> Measurement:
    """Return the medians of several measurements of one configuration; any failure counts."""
    if wrong := next((one for one in rounds if one.failure), None):
        return replace(wrong, final=True)
    return replace(
        rounds[0],
        requests_per_second=median(one.requests_per_second for one in rounds),
        p50=median(one.p50 for one in rounds),
        p99=median(one.p99 for one in rounds),
        seconds=sum(one.seconds for one in rounds),
        final=True,
    )
