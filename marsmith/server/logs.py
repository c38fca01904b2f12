"""The logs of a server as one: entries of its front end and its workers, in order of time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from marsmith.project.project import Project
from marsmith.server.lookup import no_server, require_one
from marsmith.server.process import LOGS
from marsmith.server.state import running_servers
from marsmith.torchserve.log_entries import Entries, Entry
from marsmith.torchserve.log_files import LogReader


class ServerLogs:
    """Reads a server's logs, and follows them. Use it as a context manager."""

    def __init__(self, folder: Path, model: str | None = None, others: Iterable[str] = ()) -> None:
        """Read the logs in a server's folder; with `model`, only entries about that model.

        `others` are the other models that it serves.
        """
        self._model = model
        self._others = tuple(others)
        self._logs = [(LogReader(folder / name), Entries()) for name in LOGS]

    def __enter__(self) -> ServerLogs:
        return self

    def __exit__(self, *_: object) -> None:
        for reader, _entries in self._logs:
            reader.close()

    def read(self) -> list[Entry]:
        """Return the entries since the last call, in order of time.

        A traceback that may go on waits for the next call.
        """
        found: list[Entry] = []
        for reader, entries in self._logs:
            lines = reader.read()
            found += entries.add(lines)
            if not lines:
                found += entries.rest()
        return self._chosen(found)

    def rest(self) -> list[Entry]:
        """Return the entries that still wait for more lines."""
        return self._chosen([entry for _, entries in self._logs for entry in entries.rest()])

    def _chosen(self, found: list[Entry]) -> list[Entry]:
        if self._model is not None:
            found = [entry for entry in found if entry.concerns(self._model, self._others)]
        return sorted(found, key=lambda entry: entry.time)


def logs_folder(project: Project, port: int | None = None) -> Path:
    """Return the folder with the logs of the server on `port`, running or not.

    Without `port` it is the one that runs, or the one that ran last. Raises ServerError if there
    is none, or more than one runs.
    """
    servers = project.state_path("servers")
    if port is None and (running := running_servers(project)):
        require_one(running)
        port = running[0].port
    folders = [servers / str(port)] if port is not None else list(servers.glob("*"))
    with_logs = [folder for folder in folders if (folder / LOGS[0]).is_file()]
    if not with_logs:
        raise no_server(port, "ran")
    return max(with_logs, key=lambda folder: (folder / LOGS[0]).stat().st_mtime)
