"""The queue of jobs in SQLite: whose turn it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from marsmith.gateway.jobs.work_queue import SqliteQueue


@pytest.fixture
def queue(tmp_path: Path) -> SqliteQueue:
    return SqliteQueue(tmp_path / "queue.db", 60)


def test_owners_take_turns(queue: SqliteQueue) -> None:
    for folder in ("a/1", "a/2", "a/3", "b/1"):
        queue.send(folder, "run")
    lent = [queue.receive("run", 1)[0].folder for _ in range(4)]
    assert lent == ["a/1", "b/1", "a/2", "a/3"]


def test_webhooks_do_not_wait_behind_jobs(queue: SqliteQueue) -> None:
    queue.send("a/1", "run")
    queue.send("a/2", "tell")
    assert [one.folder for one in queue.receive("tell", 4)] == ["a/2"]


def test_what_was_put_off_was_not_tried(queue: SqliteQueue) -> None:
    queue.send("a/1", "run")
    for _ in range(3):
        (message,) = queue.receive("run", 1)
        queue.put_off(message, -1)
    assert queue.receive("run", 1)[0].tries == 1


def test_a_deleted_job_leaves_no_message(queue: SqliteQueue) -> None:
    queue.send("a/1", "tell")
    queue.forget("a/1")
    assert queue.waiting() == 0
