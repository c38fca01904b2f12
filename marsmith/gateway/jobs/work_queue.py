"""Messages that are lent for a time: in SQLite, or elsewhere (s3.py).

Whoever ends before a message is done loses it to another one. A message may come twice.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from marsmith.gateway.jobs.refusals import refusal

Task = Literal["run", "tell"]  # answer a job, or send its webhook
_TABLE = """
CREATE TABLE IF NOT EXISTS messages (
    folder TEXT, task TEXT, due REAL, tries INTEGER DEFAULT 0, receipt TEXT DEFAULT '',
    PRIMARY KEY (folder, task)
)"""
# The owners take turns: who has more messages lent comes later.
_TAKE = """
UPDATE messages SET due = ?, tries = tries + 1, receipt = ? WHERE rowid IN (
    SELECT m.rowid FROM (SELECT rowid, due, substr(folder, 1, instr(folder, '/')) AS owner
        FROM messages WHERE task = ? AND due <= ?) AS m
    LEFT JOIN (SELECT substr(folder, 1, instr(folder, '/')) AS owner, COUNT(*) AS lent
        FROM messages WHERE task = ? AND due > ? AND receipt <> '' GROUP BY owner) AS busy
        ON m.owner = busy.owner
    ORDER BY COALESCE(lent, 0) + ROW_NUMBER() OVER (PARTITION BY m.owner ORDER BY due), due
    LIMIT ?)
RETURNING folder, task, tries, receipt"""


@dataclass(frozen=True)
class Message:
    """Something to do for the job in `folder`, for the time of the lease."""

    folder: str
    task: Task
    tries: int  # how often it has been lent, this time included
    receipt: str


class WorkQueue(Protocol):
    """All methods may wait, and raise GatewayError if the queue does not work."""

    def send(self, folder: str, task: Task) -> None:
        """Add a message."""

    def receive(self, task: Task, most: int) -> Sequence[Message]:
        """Borrow up to so many of one kind."""

    def extend(self, messages: Sequence[Message]) -> None:
        """Keep them for the time of another lease."""

    def release(self, message: Message, delay: float) -> None:
        """Give one back, to be lent again after `delay` seconds."""

    def put_off(self, message: Message, delay: float) -> None:
        """Give one back that was not begun: this time does not count as a try."""

    def done(self, message: Message) -> None:
        """Remove one."""

    def forget(self, folder: str) -> None:
        """Remove what is left for a job that was deleted, where that is possible."""

    def waiting(self) -> int:
        """Return how many wait, about."""


class SqliteQueue:
    """A queue in a file of this machine, for all gateways that name it."""

    def __init__(self, path: Path, lease: float) -> None:
        """The file need not exist yet; `lease` is in seconds."""
        self._path = path
        self._lease = lease

    def send(self, folder: str, task: Task) -> None:
        self._change(
            "INSERT OR IGNORE INTO messages (folder, task, due) VALUES (?, ?, ?)",
            (folder, task, time.time()),
        )

    def receive(self, task: Task, most: int) -> Sequence[Message]:
        if not self._path.exists():
            return ()
        now = time.time()
        taken = (now + self._lease, secrets.token_hex(8), task, now, task, now, most)
        return [Message(*row) for row in self._change(_TAKE, taken)]

    def extend(self, messages: Sequence[Message]) -> None:
        for one in messages:
            self.release(one, self._lease)

    def release(self, message: Message, delay: float) -> None:
        self._change(
            "UPDATE messages SET due = ? WHERE folder = ? AND task = ? AND receipt = ?",
            (time.time() + delay, message.folder, message.task, message.receipt),
        )

    def put_off(self, message: Message, delay: float) -> None:
        self.release(message, delay)
        self._change(
            "UPDATE messages SET tries = tries - 1 WHERE folder = ? AND task = ? AND receipt = ?",
            (message.folder, message.task, message.receipt),
        )

    def forget(self, folder: str) -> None:
        self._change("DELETE FROM messages WHERE folder = ?", (folder,))

    def done(self, message: Message) -> None:
        self._change(
            "DELETE FROM messages WHERE folder = ? AND task = ? AND receipt = ?",
            (message.folder, message.task, message.receipt),
        )

    def waiting(self) -> int:
        if not self._path.exists():
            return 0
        ((found,),) = self._change("SELECT COUNT(*) FROM messages WHERE due <= ?", (time.time(),))
        return int(found)

    def _change(self, statement: str, values: Sequence[object]) -> list[Any]:
        with _storing(), closing(self._connected()) as connection, connection:
            return connection.execute(statement, values).fetchall()

    def _connected(self) -> sqlite3.Connection:
        """Connect anew: connections belong to one thread."""
        self._path.parent.mkdir(0o700, parents=True, exist_ok=True)
        self._path.touch(0o600)
        connection = sqlite3.connect(self._path, timeout=10)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(_TABLE)
        return connection


@contextmanager
def _storing() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        if "full" in str(error):
            raise refusal("job-storage-full") from error
        raise refusal("job-storage", reason=str(error), retry_after=5) from error
