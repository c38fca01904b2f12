"""What was served before a change, kept on disk until the change is done or undone.

A deployment that is killed (-9) cannot undo its steps. Its journal stays, and the next change to
the server, or the next `marsmith serve`, restores what the journal says.
"""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import asdict

from marsmith.core.atomic_write import replacing
from marsmith.project.project import Project
from marsmith.server.state import server_folder, server_path
from marsmith.server.version_record import Record, Version, recording, write_record

_JOURNAL = "change.json"


def begin_change(project: Project, port: int, before: Record) -> None:
    """Note what is served before a change. Raises OSError."""
    with replacing(server_folder(project, port) / _JOURNAL, 0o600) as file:
        file.write(json.dumps([asdict(one) for one in before]).encode())


def end_change(project: Project, port: int) -> None:
    """Forget it: the change is done, or undone."""
    with suppress(OSError):
        (server_path(project, port) / _JOURNAL).unlink(missing_ok=True)


def unfinished_change(project: Project, port: int) -> Record | None:
    """Return what was served before a change that was killed; None if there was none.

    Only for those who have locked the record: then no change is under way.
    """
    try:
        values = json.loads((server_path(project, port) / _JOURNAL).read_bytes())
        return tuple(Version(**one) for one in values)
    except (OSError, ValueError, TypeError):  # written whole, so another version's
        return None


def forget_copies(project: Project, port: int) -> None:
    """Remove copies that a killed change did not finish, for those who have locked the record."""
    for path in (server_path(project, port) / "archives").glob(".*"):
        with suppress(OSError):
            path.unlink()
    shutil.rmtree(project.state_path(f"deploy/{port}"), ignore_errors=True)


def settle_before_start(project: Project, port: int) -> None:
    """Let a server start with what was served before a change that was killed. Raises OSError."""
    with recording(project, port):
        before = unfinished_change(project, port)
        if before is not None:
            write_record(project, port, before)
        end_change(project, port)
        forget_copies(project, port)
