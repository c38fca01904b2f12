"""A server is ready once every model returned the expected answers to its samples.

TorchServe says healthy while no worker can load its model, and retries for five minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from marsmith.answers.messages import Request, Response
from marsmith.answers.samples import Sample
from marsmith.archive.reader import Archive
from marsmith.client import Client
from marsmith.core.errors import ClientError, MarsmithError, ServerError, WorkerError
from marsmith.core.findings import Finding
from marsmith.core.interrupts import Stop
from marsmith.server.process import JAVA_LOG, SERVER_LOG, WORKERS_LOG
from marsmith.torchserve.front_end_failure import explain_front_end
from marsmith.torchserve.load_failure import explain
from marsmith.torchserve.tracebacks import find_failure
from marsmith.torchserve.worker_lines import (
    last_words,
    model_lines,
    pip_problem,
    refusal_of,
    worker_has_ended,
)

_PAUSE = 0.1  # seconds between two looks
_GRACE = 0.5  # seconds between an exception and the last line of its traceback in the log
_LONGEST_GRACE = 3.0  # seconds for the first line: on a busy machine it comes late


class Watched(Protocol):
    """A server: one that this process started, or one that another process did."""

    log_folder: Path
    what: str  # the front end, for people

    def is_running(self) -> bool:
        """Whether the front end's process lives."""

    def log(self, name: str) -> str:
        """Return what was logged in the present run."""

    def listens(self) -> bool:
        """Whether it can be asked; a request to one that cannot may wait for it."""

    def problem(self) -> MarsmithError | None:
        """Return why a model cannot be loaded, where the front end itself tells."""


@dataclass(frozen=True)
class Start:
    """The start of a server: which archives must become ready, until when, and who may stop it."""

    server: Watched
    client: Client
    archives: list[Archive]
    deadline: float  # on time.monotonic()'s clock
    stop: Stop
    source_name: Callable[[str, str], str]  # an archive's and an entry's name → the project's file
    end: str = "did not start"  # how to say that TorchServe does not run

    def wait(self) -> None:
        """Return when every archive is loaded and its samples pass, or the user wants to stop.

        Raises WorkerError with the true cause if a worker cannot load its model, ServerError if
        TorchServe does not start, a model answers wrongly, or the deadline passes.
        """
        waiting = list(self.archives)
        while not (self.stop.requested or self.server.listens()):
            self._look(waiting[0] if waiting else None)
            time.sleep(_PAUSE)
        while waiting and not self.stop.requested:
            self._look(waiting[0])
            waiting = [archive for archive in waiting if not self._is_up(archive)]
            time.sleep(_PAUSE)
        for archive in self.archives:
            for sample in archive.samples:
                if self.stop.requested:
                    return
                self._prove(archive, sample)

    def _prove(self, archive: Archive, sample: Sample) -> None:
        answer = self._predict(archive, archive.request_of(sample))
        if answer is None:
            return
        if answer.status >= 500 and (finding := self.failure(archive)):
            wrong, hint = finding.message, finding.hint
        else:
            wrong = sample.complaint(archive.read(sample.response), answer) or ""
            record = f"marsmith sample {archive.name}"
            hint = f"correct the model or its handler, or record this answer: {record}"
        if wrong:
            raise ServerError(
                f"{archive.name} answers its sample {sample.request} wrongly: {wrong}",
                hint,
                code="wrong-answer",
            )

    def _predict(self, archive: Archive, request: Request) -> Response | None:
        """Send a request, and keep looking: a handler may hang. None if the user wants to stop."""
        sender = ThreadPoolExecutor(max_workers=1)
        try:
            version = archive.manifest.model_version
            answer = sender.submit(self.client.predict, archive.name, request, version=version)
            while not answer.done():
                if self.stop.requested:
                    return None
                self._look(archive)
                time.sleep(_PAUSE / 10)
            return answer.result()
        finally:
            sender.shutdown(wait=False)  # a request that still waits ends with the server

    def _is_up(self, archive: Archive) -> bool:
        try:
            described = self.client.describe(archive.name)
        except ClientError:
            return False  # not listening yet, or the model not registered yet
        return any(
            model.version == archive.manifest.model_version
            and model.ready_workers >= model.min_workers
            for model in described
        )

    def _look(self, waiting_for: Archive | None) -> None:
        """Raise if the front end ended, a worker could not load its model, or time is up."""
        running = self.server.is_running()
        if told := self.server.problem():
            raise told
        log, workers_log = self.server.log(SERVER_LOG), self.server.log(WORKERS_LOG)
        for archive in self.archives:
            version = archive.manifest.model_version or ""
            if worker_has_ended(log, workers_log, archive.name, version):
                finding = explain_front_end(log, archive.name, version, archive.model_config)
                finding = finding or self.failure(archive) or explain(None, self._log_path)
                message = f"{archive.name}: its worker cannot load the model"
                raise WorkerError(
                    f"{message}: {finding.message}", finding.hint, code="model-not-loaded"
                )
            if problem := pip_problem(log, archive.name):
                raise ServerError(
                    f"{archive.name}: pip could not install what it requires: {problem}",
                    f"correct {archive.manifest.requirements_file} or what pip is told of indexes, "
                    f"and build it again; all that pip said: {self.server.log_folder / SERVER_LOG}",
                    code="requirement-not-installed",
                )
            if refused := refusal_of(log, archive.path.name):
                raise ServerError(
                    f"TorchServe refuses {archive.path.name}: {refused}",
                    f"build it again: marsmith build {archive.name}",
                    code="archive-refused",
                )
        if not running:
            raise ServerError(
                f"{self.server.what} {self.end}: {self._last_words(log)}",
                f"correct config.properties if it names a setting; logs: {self.server.log_folder}",
                code="not-started",
            )
        if time.monotonic() > self.deadline:
            raise ServerError(
                f"{waiting_for.name if waiting_for else 'the server'} was not ready in time",
                f"allow more time: --timeout SECONDS; its logs: {self.server.log_folder}",
                code="not-ready-in-time",
            )

    def failure(self, archive: Archive) -> Finding | None:
        """Return what a model's worker raised, with its place in the project in front."""
        version = archive.manifest.model_version or ""
        failure, end = None, time.monotonic() + _LONGEST_GRACE
        while failure is None and time.monotonic() < end:
            time.sleep(_GRACE)
            lines = model_lines(self.server.log(WORKERS_LOG), archive.name, version)
            failure = find_failure(lines)
        if failure is None:
            return None
        finding = explain(failure, self._log_path)
        required = archive.manifest.requirements_file
        if finding.rule == "missing-module" and required:
            hint = f"TorchServe installs what {required} names only if config.properties has"
            hint += " install_py_dep_per_model=true; set that, or install the module here"
            finding = replace(finding, hint=hint)
        if finding.file is None:
            return finding
        place = f"{self.source_name(archive.name, finding.file)}:{finding.line}"
        return Finding(f"{place}: {finding.message}", finding.hint, rule="model-not-loaded")

    @property
    def _log_path(self) -> str:
        return str(self.server.log_folder / WORKERS_LOG)

    def _last_words(self, server_log: str) -> str:
        return last_words([*self.server.log(JAVA_LOG).splitlines(), *server_log.splitlines()])
