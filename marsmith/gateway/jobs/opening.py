"""The jobs of a gateway, as its settings say."""

from __future__ import annotations

from pathlib import Path

from marsmith.gateway.access.guards import Guards
from marsmith.gateway.backend import Backend
from marsmith.gateway.jobs.face import JobsFace
from marsmith.gateway.jobs.jobs import Jobs
from marsmith.gateway.jobs.runner import Runner
from marsmith.gateway.jobs.settings import JOBS_FOLDER, JobSettings, job_settings
from marsmith.gateway.jobs.store import FolderStore, Store
from marsmith.gateway.jobs.work import Work
from marsmith.gateway.jobs.work_queue import SqliteQueue, WorkQueue
from marsmith.gateway.served import Settings
from marsmith.project.project import Project


def open_jobs(settings: Settings, backend: Backend, guards: Guards) -> tuple[JobsFace, Runner]:
    """Return what answers requests for jobs, and what answers jobs; nothing is begun yet."""
    given = job_settings(settings.gateway)
    folder = Project(Path(settings.project)).state_path(JOBS_FOLDER)
    jobs = Jobs(folder, given, _store(given, folder), _queue(given, folder))
    metrics = guards.observer.metrics
    runner = Runner(jobs, Work(jobs, backend, guards), metrics)
    return JobsFace(jobs, runner, guards.admitted(backend), guards), runner


def _store(settings: JobSettings, folder: Path) -> Store:
    if not settings.s3:
        return FolderStore(folder / "files")
    from marsmith.gateway.jobs.s3 import S3Store

    return S3Store(settings.s3)


def _queue(settings: JobSettings, folder: Path) -> WorkQueue:
    if not settings.sqs:
        return SqliteQueue(folder / "queue.db", settings.lease)
    from marsmith.gateway.jobs.s3 import SqsQueue

    return SqsQueue(settings.sqs, settings.lease)
