"""Jobs in a folder, without a gateway."""

from __future__ import annotations

import json
import time
from pathlib import Path

from starlette.responses import Response

from marsmith.answers.messages import Request
from marsmith.gateway.backend import Call
from marsmith.gateway.jobs.jobs import Jobs
from marsmith.gateway.jobs.record import Found
from marsmith.gateway.jobs.settings import JobSettings
from marsmith.gateway.jobs.store import FolderStore
from marsmith.gateway.jobs.work_queue import SqliteQueue


def jobs_in(folder: Path, settings: JobSettings) -> Jobs:
    return Jobs(folder, settings, FolderStore(folder / "files"), SqliteQueue(folder / "db", 60))


def submit(jobs: Jobs, body: bytes) -> Found:
    return jobs.submit(Call("work", Request(body), "1"), "-", "id", "", "", "http://first")


def test_the_id_of_an_expired_job_is_free(tmp_path: Path) -> None:
    jobs = jobs_in(tmp_path, JobSettings(ttl=1, quota=1))
    submit(jobs, b"one")
    time.sleep(1.1)
    found = submit(jobs, b"two")
    assert jobs.store.get(found.job.input) == b"two"


def test_an_answer_has_the_address_by_which_it_is_asked_for(tmp_path: Path) -> None:
    jobs = jobs_in(tmp_path, JobSettings())
    found = submit(jobs, b"one")
    assert jobs.answered(found.job, "succeeded", Response(b"x", media_type="text/plain"), "1.0")
    told = json.loads(jobs.values(jobs.find("-", "id"), "http://second"))
    assert told["answer"]["url"].startswith("http://second/jobs/id/answer?")
