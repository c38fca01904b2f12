"""Search the best configuration of an archive on this machine: highest rate with p99 in the goal.

The present configuration is measured first. Then Optuna suggests others, and hopeless ones are
given up early. The best are measured again in turns, since the best of many noisy measurements is
too good. The budget is checked between measurements, so the last one may exceed it.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from marsmith.archive.reader import Archive
from marsmith.building.building import build
from marsmith.core.errors import BuildError, ClientError, ServerError
from marsmith.core.installed import require
from marsmith.core.interrupts import StopRequest
from marsmith.project.project import Project
from marsmith.project.spec import ArchiveSpec
from marsmith.tune.conditions import Conditions, chosen_samples
from marsmith.tune.engine_variants import (
    ENGINES,
    Calibration,
    forget_files_of_others,
    reads,
    variants,
)
from marsmith.tune.load_trial import Trial, failed, is_hopeless, measure
from marsmith.tune.measurements import Measurement, Measurements
from marsmith.tune.optimizer import BETTER, Study
from marsmith.tune.rematch import ROUND, measure_in_turns
from marsmith.tune.space import Configuration, Space, present
from marsmith.tune.trial_server import TrialServer

_FINALISTS = 3
# After so many measurements in a row without progress, only neighbours of the best are tried. The
# search ends when no neighbour is better.
_PATIENCE = 4


@dataclass
class Tuned:
    """All measurements, and the winner. `stopped` means that the user ended the search."""

    spec: ArchiveSpec
    goal: float  # seconds
    now: Measurement | None = None
    measurements: list[Measurement] = field(default_factory=list)
    finals: list[Measurement] = field(default_factory=list)  # of the best, measured in turns
    winner: Measurement | None = None  # one of the finals
    remembered: int = 0  # how many measurements are from an earlier run
    seconds: float = 0.0
    stopped: bool = False


class Tuning:
    """One search. `say` is called with each measurement."""

    def __init__(
        self,
        project: Project,
        name: str,
        conditions: Conditions,
        *,
        budget: float,
        trials: int | None = None,
        stop: StopRequest,
        engines: tuple[str, ...] = ENGINES,
        calibration: Calibration | None = None,
        say: Callable[[Measurement], None] = lambda _: None,
    ) -> None:
        """Build the archive, and prepare. `budget` is in seconds; `trials` limits the search.

        Raises FindingsError if the archive cannot be built, ProjectError if it has no samples,
        MissingExtraError without Optuna or TorchServe.
        """
        require("tuning", "tune")
        require("tuning", "torchserve", "ts", "torch")
        (self.spec,) = project.specs((name,))
        (built,) = build(project, (name,))
        self.archive = Archive(built.path)
        self.conditions = replace(
            conditions, samples=chosen_samples(self.archive, conditions.samples)
        )
        self.known = Measurements(
            project,
            self.spec,
            {"connections": conditions.connections, "samples": self.conditions.samples},
        )
        forget_files_of_others(project, self.spec, self.known.inputs)
        self._engines = engines
        self._calibration = calibration
        self._project = project
        self._stop = stop
        self._say = say
        self._budget = budget
        self._trials = math.inf if trials is None else trials
        self._started = time.perf_counter()
        self._cold = True
        self.result = Tuned(self.spec, conditions.goal)

    def run(self, *, final: bool = True) -> Tuned:
        """Search, and return the result. Without a final there is no winner.

        Raises the error of the archive's present configuration, if that fails. In any case, no
        process or folder is left behind, and measurements are kept.
        """
        with self._server() as server:
            self.result.now = self._measure(server, self._present(), 0.0)
            if self.result.now is not None:
                self._require_sound(self.result.now)
                self._search(server)
                if final:
                    self._choose(server)
        self.result.stopped = self._stop.requested
        self.result.seconds = time.perf_counter() - self._started
        return self.result

    def space(self) -> Space:
        """Return the configurations to try."""
        return Space.of(
            variants(self._project, self.spec, self._engines, self._calibration),
            cores=os.cpu_count() or 1,
            connections=self.conditions.connections,
            goal=self.conditions.goal,
            threads=reads(self._project, self.spec, "threads"),
        )

    def _server(self) -> TrialServer:
        return TrialServer(self._project, self.spec, self._stop, self._calibration)

    def _present(self) -> Configuration:
        configuration = present(self.spec, os.cpu_count() or 1)
        known = reads(self._project, self.spec, "threads")
        return configuration if known else replace(configuration, threads=None)

    def _search(self, server: TrialServer) -> None:
        space = self.space()
        study = Study(space, self.conditions.goal)
        best, idle, tried = self._best(), 0, 0
        patience = _PATIENCE + len(space.variants) - 1  # the first measurements try each variant
        while tried < self._trials and self._left() > 0:
            tried += 1
            configuration = study.ask(only_near=idle >= patience)
            if configuration is None:
                return
            measurement = self._measure(server, configuration, best)
            if measurement is None:
                return
            study.tell(measurement)
            idle = 0 if self._best() > best * BETTER or not best else idle + 1
            best = self._best()

    def _left(self) -> float:
        """Return the seconds left for the search, without an estimate for the final."""
        longest = max((one.seconds for one in self.result.measurements), default=0.0)
        final = min(self._budget / 2, _FINALISTS * (longest + ROUND))
        return self._budget - final - (time.perf_counter() - self._started)

    def _best(self) -> float:
        candidates = (one for one in self.result.measurements if one.meets(self.conditions.goal))
        return max((one.requests_per_second for one in candidates), default=0.0)

    def _measure(
        self, server: TrialServer, configuration: Configuration, best: float
    ) -> Measurement | None:
        """Measure a configuration, or reuse its measurement; None if the user stops.

        It is given up early if it cannot beat `best` requests per second, unless that is 0.
        """
        goal = self.conditions.goal

        def give_up(so_far: Measurement, share: float) -> bool:
            return best > 0 and is_hopeless(so_far, share, best, goal)

        known = self.known.find(configuration)
        if known and (known.complete or give_up(known, 1.0)):
            self.result.remembered += 1
        else:
            known = self._measure_anew(server, configuration, give_up)
            if known is None:
                return None
            self.known.add(known)
        self.result.measurements.append(known)
        self._say(known)
        return known

    def _measure_anew(
        self,
        server: TrialServer,
        configuration: Configuration,
        give_up: Callable[[Measurement, float], bool],
    ) -> Measurement | None:
        started = time.perf_counter()
        try:
            archive = server.serve(configuration)
        except (ServerError, BuildError, ClientError) as error:
            if not self.result.measurements and not self.known.any_sound():
                raise  # the present configuration cannot be served, so nothing can be tuned
            return failed(configuration, time.perf_counter() - started, error.message)
        if archive is None:
            return None
        with Trial(server, archive, self.conditions, self._requested) as trial:
            trial.warm(cold=self._cold)
            if self._cold:
                started = time.perf_counter()  # the trial does not include the server's start
            self._cold = False
            return measure(trial, configuration, started, give_up, self._requested)

    def _requested(self) -> bool:
        return self._stop.requested

    def _require_sound(self, now: Measurement) -> None:
        if now.failure is not None:
            raise ServerError(
                f"{self.spec.name} fails under load in its present configuration: {now.failure}",
                "use fewer --connections or a larger jobQueueSize, or correct the archive",
                code="fails-under-load",
            )

    def _choose(self, server: TrialServer) -> None:
        """Measure the best configurations in turns, and choose the winner."""
        goal = self.conditions.goal
        candidates = [one for one in self.result.measurements if one.meets(goal)]
        candidates.sort(key=lambda one: -one.requests_per_second)
        while candidates and self.result.winner is None and not self._stop.requested:
            some, candidates = candidates[:_FINALISTS], candidates[_FINALISTS:]
            finalists = [one.configuration for one in some]
            if self.result.now and not self.result.finals:
                finalists.append(self.result.now.configuration)  # to compare the winner with
            finals = self._finals(server, list(dict.fromkeys(finalists)))
            self.result.finals += finals
            good = [one for one in finals if one.meets(goal)]
            self.result.winner = max(good, key=lambda one: one.requests_per_second, default=None)

    def _finals(self, server: TrialServer, chosen: list[Configuration]) -> list[Measurement]:
        known = [self.known.find(one, final=True) for one in chosen]
        if all(known):
            return [one for one in known if one is not None]
        finals = measure_in_turns(server, chosen, self.conditions, self._requested, self._cold)
        self._cold = False
        for one in finals:
            self.known.add(one)
        return finals
