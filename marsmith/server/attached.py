"""A server that another process started."""

from __future__ import annotations

from pathlib import Path

from marsmith.core.errors import MarsmithError
from marsmith.core.processes import lives
from marsmith.server.process import LOGS
from marsmith.server.state import ServerState
from marsmith.torchserve.log_files import LogTails


class RunningServer:
    """What `readiness` needs to know of a running server."""

    def __init__(self, state: ServerState, log_folder: Path) -> None:
        self._front_end = state.front_end
        self._tails = LogTails(log_folder, LOGS)
        self.log_folder = log_folder
        gateway = state.kind == "gateway"
        self.what = "the gateway's web process" if gateway else "TorchServe"

    def is_running(self) -> bool:
        """Whether the front end's process lives."""
        return lives(self._front_end)

    def log(self, name: str) -> str:
        """Return what was written to one of its logs since this object was made."""
        return self._tails.read(name)

    def listens(self) -> bool:
        """Return True: before it listens, its port is closed."""
        return True

    def problem(self) -> MarsmithError | None:
        """Return None: TorchServe tells in its logs why a model cannot be loaded."""
        return None
