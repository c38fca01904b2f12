"""Choose the configuration to try next.

In turns: a suggestion of Optuna, which searches everywhere, and a neighbour of the best so far,
which differs in one value. Optuna uses TPE (Bergstra et al., "Algorithms for Hyper-Parameter
Optimization", 2011) with the goal for latency as a constraint, so that it also learns from
configurations that miss the goal. On 25 synthetic surfaces with 4 % noise, trying a fifth of all
configurations found at least 0.95 of the best on 24 surfaces with TPE alone, on 20 at random, and
on all 25 in turns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from marsmith.tune.measurements import Measurement
from marsmith.tune.space import Configuration, Space

if TYPE_CHECKING:
    from optuna.trial import Trial as Suggestion

_NAMES = ("variant", "processes", "batch size", "delay")
_RANDOM = 4  # random configurations before TPE's model is used
_SEED = 0  # a second run tries the same configurations, which are measured already
_REPEATED = 200  # repeated suggestions after which the search ends
BETTER = 1.02  # a rate only counts as better if it is this factor higher
_MISSED = 10.0  # constraint value of a configuration that fails

Place = tuple[int, int, int, int]  # in the four lists of a space


class Study:
    """Suggests configurations, and learns from their measurements."""

    def __init__(self, space: Space, goal: float) -> None:
        """Prepare to search a space, under a goal for p99 in seconds."""
        import optuna  # only this command needs it

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space = space
        self._goal = goal
        sampler = optuna.samplers.TPESampler(seed=_SEED, n_startup_trials=_RANDOM)
        self._study = optuna.create_study(sampler=sampler, direction="maximize")
        self._tried: dict[Configuration, Measurement] = {}
        self._open: dict[Configuration, tuple[Suggestion, Place]] = {}
        self._best: tuple[float, Place] | None = None
        for variant in range(len(space.variants)):
            self._enqueue(_first(space, variant))

    def ask(self, *, only_near: bool = False) -> Configuration | None:
        """Return an untried configuration, or None if none is left that is worth trying.

        With `only_near` it is a neighbour of the best, to verify that the best is a peak.
        """
        near = next((one for one in self._neighbours() if not self._is_tried(one)), None)
        if only_near and near is None:
            return None
        turn = len(self._tried) >= _RANDOM and len(self._tried) % 2 == 0
        if near is not None and (only_near or turn):
            self._enqueue(near)
        for _ in range(_REPEATED):
            trial = self._study.ask()
            place = self._suggested(trial)
            configuration = self._space.configuration(*place)
            known = self._tried.get(configuration)
            if known is None:
                self._open[configuration] = trial, place
                return configuration
            self._tell(trial, known)
        return None

    def tell(self, measurement: Measurement) -> None:
        """Learn from the measurement of a suggested configuration."""
        trial, place = self._open.pop(measurement.configuration)
        self._tried[measurement.configuration] = measurement
        self._tell(trial, measurement)
        rate = measurement.requests_per_second
        # On a plateau, the best only differs by noise, which is not progress.
        if measurement.meets(self._goal) and (self._best is None or rate > self._best[0] * BETTER):
            self._best = rate, place

    def _enqueue(self, place: Place) -> None:
        self._study.enqueue_trial(dict(zip(_NAMES, place, strict=True)))

    def _tell(self, trial: Suggestion, measurement: Measurement) -> None:
        late = math.log(max(measurement.p99, 1e-6) / self._goal)
        trial.set_constraint("p99", _MISSED if measurement.failure is not None else late)
        self._study.tell(trial, measurement.requests_per_second)

    def _is_tried(self, place: Place) -> bool:
        return self._space.configuration(*place) in self._tried

    def _suggested(self, trial: Suggestion) -> Place:
        variants, processes, sizes, delays = self._space.lengths
        return (
            trial.suggest_categorical("variant", range(variants)),
            trial.suggest_categorical("processes", range(processes)),
            trial.suggest_int("batch size", 0, sizes - 1),
            trial.suggest_int("delay", 0, delays - 1),
        )

    def _neighbours(self) -> Iterator[Place]:
        """Yield places that differ from the best in one value; in ordered lists, adjacent ones."""
        if self._best is None:
            return
        variant, processes, size, delay = self._best[1]
        lengths = self._space.lengths
        yield from ((variant, n, size, delay) for n in range(lengths[1]) if n != processes)
        sizes = [n for n in (size + 1, size - 1) if 0 <= n < lengths[2]]
        delays = [n for n in (delay - 1, delay + 1) if 0 <= n < lengths[3]]
        yield from ((variant, processes, n, delay) for n in sizes)
        yield from ((variant, processes, size, n) for n in delays)
        yield from ((n, processes, size, delay) for n in range(lengths[0]) if n != variant)


def _first(space: Space, variant: int) -> Place:
    """Return the first place to try for a variant: most workers, some batching."""
    processes = max(range(len(space.processes)), key=lambda n: space.processes[n][0])
    return variant, processes, max(0, len(space.batch_sizes) - 3), 0
