"""The web process of a gateway: started, watched, and started again after a death.

The supervisor binds the sockets and keeps them, so that connections wait while the web process is
started again. It keeps the workers' connections too (keeping.py), so that they live on.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from marsmith.core.atomic_write import replacing
from marsmith.core.errors import MarsmithError, ServerError
from marsmith.core.private_files import open_private
from marsmith.core.processes import end_children_of, end_group
from marsmith.gateway.access.keys import Limits, new_key
from marsmith.gateway.jobs.settings import uses_aws
from marsmith.gateway.keeping import Keeper
from marsmith.gateway.served import Settings, format_settings, served_of
from marsmith.server.front_process import SUPERVISOR_LOG, FrontProcess
from marsmith.server.process import KEY_FILE, SERVER_LOG, WORKERS_LOG
from marsmith.torchserve.environment import clean_environment
from marsmith.torchserve.ports import require_free
from marsmith.torchserve.properties import Address

_PROGRAM = Path(__file__).parents[1] / "programs" / "gateway_web.py"
ACCESS_LOG = "access.log"
LOGS = (SERVER_LOG, WORKERS_LOG, SUPERVISOR_LOG)
SETTINGS_FILE = "settings.json"
LISTENING_FILE = "listening"  # is there once the web process answers
PROBLEM_FILE = "problem.json"  # why a model cannot be loaded, written by the web process
_BACKLOG = 1024  # connections that wait while the web process is started again


class GatewayServer(FrontProcess):
    """The host of `marsmith gateway` (server/hosting.py)."""

    what = "the gateway's web process"

    def __init__(self, settings: Settings, addresses: Mapping[str, Address]) -> None:
        """Prepare to serve at `addresses`, by the names of listeners."""
        super().__init__(Path(settings.log_folder), LOGS)
        self._settings = replace(settings, folder=str(self.folder))
        self._addresses = addresses
        self.in_front = settings.backend == "torchserve"
        self._sockets: dict[str, socket.socket] = {}
        self._keeper = Keeper(self._kill_stuck)

    def restart(self, changed: Mapping[str, str]) -> None:
        """Start the web process again after its end; its workers and connections live on."""
        self.end(patience=0.0)
        properties = {**self._settings.properties, **changed}
        served = served_of(properties, {})
        self._settings = replace(self._settings, properties=properties, served=served, again=True)
        self._continue_logs()
        self._launch()

    def _take_addresses(self) -> None:
        for name, address in self._addresses.items():
            self._sockets[name] = _listening(address)

    def _launch(self) -> None:
        if not self._settings.again:
            self._write_keys()
        for name in (PROBLEM_FILE, LISTENING_FILE):
            (self.folder / name).unlink(missing_ok=True)
        keeper = self._keeper.connection()
        listeners = {name: one.fileno() for name, one in self._sockets.items()}
        settings = replace(self._settings, listeners=listeners, keeper=keeper.fileno())
        with replacing(self.folder / SETTINGS_FILE, 0o600) as file:
            file.write(format_settings(settings))
        with keeper, open_private(self.log_folder / SERVER_LOG) as log:
            self._launch_process(
                [sys.executable, _PROGRAM, self.folder / SETTINGS_FILE, str(os.getpid())],
                clean_environment(os.environ, self.folder) | self._credentials(),
                log,
                pass_fds=[*listeners.values(), settings.keeper],
            )

    def _credentials(self) -> dict[str, str]:
        """Return what the web process may know for jobs in S3 and SQS; workers never get it."""
        if not uses_aws(self._settings.gateway):
            return {}
        return {name: one for name, one in os.environ.items() if name.startswith("AWS_")}

    def _write_keys(self) -> None:
        """Write the key of Marsmith's own commands, in the form of TorchServe's key file."""
        _, token = new_key("marsmith", [], 0.0, None, Limits())
        key = {"key": token}
        with replacing(self.folder / KEY_FILE, 0o600) as file:
            file.write(json.dumps({"management": key, "inference": key}).encode())

    def listens(self) -> bool:
        """Whether the web process answers: before that, connections wait at the supervisor's."""
        return (self.folder / LISTENING_FILE).exists()

    def problem(self) -> MarsmithError | None:
        """Return why a model cannot be loaded, as the web process has told."""
        try:
            values = json.loads((self.folder / PROBLEM_FILE).read_bytes())
        except (OSError, ValueError):
            return None
        return ServerError(values["message"], values["hint"], code=values["code"])

    def end(self, patience: float = 10.0) -> None:
        """End the web process: it lets open requests end for so many seconds."""
        if self.is_running():
            end_group(self.pid, patience)
        if self.process is not None:
            self.process.wait()

    def _kill_stuck(self) -> None:
        """End a web process that answers nothing; the supervisor starts it again."""
        if self.is_running():
            self.note(f"{self.what} (pid {self.pid}) is stuck, and is ended")
            os.killpg(self.pid, signal.SIGKILL)

    def _let_go(self) -> None:
        for one in self._sockets.values():
            one.close()
        self._sockets.clear()
        self._keeper.close()
        end_children_of(self.folder)  # its workers
        super()._let_go()


def _listening(address: Address) -> socket.socket:
    require_free(address)
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address.host, address.port))
    listener.listen(_BACKLOG)
    return listener
