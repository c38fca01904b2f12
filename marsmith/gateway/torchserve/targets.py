"""Which TorchServes stand behind a gateway, and how each is reached."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from marsmith.archive.reader import Archive
from marsmith.client import ONCE, Client
from marsmith.core.errors import MarsmithError
from marsmith.gateway.served import Settings
from marsmith.project.project import Project
from marsmith.server.lookup import no_server
from marsmith.server.pinned_archives import path_of
from marsmith.server.process import KEY_FILE
from marsmith.server.state import ServerState, running_servers
from marsmith.server.version_record import read_record

_SOON = 5.0  # seconds for a look at a server
_LONG = 300.0  # seconds for a change, whose workers have to load


@dataclass(frozen=True)
class Target:
    """One TorchServe. `port` is that of a server of this project."""

    url: str
    management_url: str | None = None
    key_file: Path | None = None
    certificate: Path | None = None
    port: int | None = None
    folder: Path | None = None  # of that server

    def client(self, *, quick: bool) -> Client:
        """Return a client: one that is quick to give up, or one for changes."""
        return Client(
            self.url,
            self.management_url,
            key_file=self.key_file,
            certificate=self.certificate,
            timeout=_SOON if quick else _LONG,
            retries=ONCE if quick else None,
        )

    def archive(self, project: Project, model: str, version: str) -> Archive | None:
        """Return the file of a version, if it is of this project's server."""
        if self.port is None:
            return None
        try:
            record = read_record(project, self.port)
            named = (one for one in record if (one.name, one.version) == (model, version))
            found = next(named, None)
            return Archive(path_of(project, self.port, found)) if found else None
        except (MarsmithError, OSError):  # it is changed right now
            return None


def targets(settings: Settings) -> list[Target]:
    """Return the TorchServes that are named, or those of the project. Raises ServerError."""
    running = running_servers(Project(Path(settings.project)))
    own = [_own(one) for one in running if one.kind == "torchserve"]
    if named := settings.options["urls"]:
        known = {one.url: one for one in own}
        urls = [url.rstrip("/") for url in named]
        return [known.get(url) or Target(url) for url in urls]
    if not own:
        raise no_server()
    return own


def _own(state: ServerState) -> Target:
    return Target(
        state.url,
        state.management_url,
        Path(state.folder) / KEY_FILE if state.secure else None,
        Path(state.certificate) if state.certificate else None,
        state.port,
        Path(state.folder),
    )
