"""One TorchServe process and its workers: start it, watch it, stop it without a trace."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from marsmith.core.atomic_write import replacing
from marsmith.core.errors import ServerError
from marsmith.core.private_files import open_private
from marsmith.core.processes import end_server
from marsmith.server.fork_pool import ForkServer, fork_server
from marsmith.server.front_process import SUPERVISOR_LOG, FrontProcess
from marsmith.torchserve.devices import VISIBLE_DEVICES, front_end_devices
from marsmith.torchserve.environment import (
    METRICS_CONFIG,
    clean_environment,
    torchserve_home,
)
from marsmith.torchserve.java import common_pool, java_executable, security_properties
from marsmith.torchserve.log_config import LogFormat, format_log_config
from marsmith.torchserve.ports import require_free
from marsmith.torchserve.properties import addresses, format_properties

SERVER_LOG = "server.log"  # the front end: warnings and errors
WORKERS_LOG = "workers.log"  # what handlers print and raise
JAVA_LOG = "java.log"  # what Java itself prints: usually nothing of interest
FORK_LOG = "fork_server.log"  # warnings of imports, and why a worker was not forked
KEY_FILE = "key_file.json"  # written by TorchServe into its working directory
LOGS = (SERVER_LOG, WORKERS_LOG, JAVA_LOG, SUPERVISOR_LOG, FORK_LOG)
# What workers and clients need in the server's folder, once it is there.
_NEEDED = ("python", "fork.sock", "models", KEY_FILE)
_REVIVALS = 5  # of a killed fork server; after that, workers start without it


class TorchServe(FrontProcess):
    """A TorchServe process with a folder of its own for sockets, unpacked archives and keys."""

    what = "TorchServe"

    def __init__(
        self,
        properties: Mapping[str, str],
        model_store: Path,
        archives: Mapping[str, str],
        log_folder: Path,
        log_format: LogFormat = "text",
        *,
        fork: bool = True,
    ) -> None:
        """Prepare to serve `archives` (model name → file in the model store).

        With `fork`, workers are forked from one process, if the system can do that.
        """
        super().__init__(log_folder, LOGS)
        # What of CUDA_VISIBLE_DEVICES the front end cannot read, its workers get (fork_pool.py).
        self._hidden_devices, gpus = front_end_devices(os.environ)
        self._properties = {"metrics_config": str(METRICS_CONFIG)} | gpus | dict(properties)
        self._model_store = model_store
        self._archives = archives
        self._log_format = log_format
        self._fork = fork
        self._fork_server: ForkServer | None = None
        self._revivals = _REVIVALS
        self._needed: set[str] = set()  # of _NEEDED, what was there

    def restart(self, changed: Mapping[str, str]) -> None:
        """Restart it after its end, with `changed` properties instead of the archives.

        Processes that are left are ended. Its folder stays, since clients read the key file there,
        or is made again, and the logs continue. Raises as `start` does.
        """
        self.end()
        self._properties |= changed
        self._archives = {}
        self._continue_logs()
        if self.own_folder.is_ours:
            self.own_folder.clear(KEY_FILE)
        else:
            self.own_folder.make()
        self._needed = set()
        self._take_addresses()
        self._launch()

    def _take_addresses(self) -> None:
        java_executable()
        for address in addresses(self._properties):
            require_free(address)

    def _launch(self) -> None:
        java = java_executable()
        try:
            self._fork_server = fork_server(self.folder) if self._fork else None
            environment = clean_environment(os.environ, self.folder)
            if self._hidden_devices is not None:
                self._require_fork_server()
                del environment[VISIBLE_DEVICES]
            with self._log_file(JAVA_LOG) as output:
                self._launch_process(self._command(java), environment, output)
        except OSError as error:
            if error.filename == str(java):
                raise ServerError(
                    f"{java} cannot be run: {error.strerror}",
                    "unset JAVA_HOME to use the Java that comes with marsmith[torchserve]",
                    code="java-not-run",
                ) from error
            raise
        self._start_fork_server()

    def _require_fork_server(self) -> None:
        if self._fork_server is None:
            raise ServerError(
                f"TorchServe cannot read {VISIBLE_DEVICES}={self._hidden_devices}, and workers "
                "without a fork server would not get it",
                f"name the cards by number, such as {VISIBLE_DEVICES}=0; or leave out --no-fork",
                code="visible-devices",
            )

    def _start_fork_server(self) -> None:
        if self._fork_server is not None:
            environment = clean_environment(os.environ, self.folder)
            try:
                with self._log_file(FORK_LOG) as log:
                    self._fork_server.start(self.pid, environment, log)
            except OSError as error:
                self.note(f"the fork server cannot start, so each worker imports PyTorch: {error}")

    def revive_fork_server(self) -> None:
        """Restart the fork server if it was killed, and its workers with it."""
        if self._fork_server is not None and self._fork_server.was_killed and self._revivals:
            self._revivals -= 1
            self.note("the fork server was killed, and its workers with it; it is restarted")
            self._start_fork_server()

    def _log_file(self, name: str) -> BinaryIO:
        """Open the log of a process; without a writable disk the server works as well."""
        try:
            return open_private(self.log_folder / name)
        except OSError:
            return Path(os.devnull).open("ab")

    def _command(self, java: Path) -> list[str]:
        home = torchserve_home()
        config = self.folder / "config.properties"
        with replacing(config, 0o600) as file:
            file.write(format_properties(self._properties).encode())
        log_config = self.folder / "log4j2.xml"
        with replacing(log_config, 0o600) as file:
            file.write(format_log_config(str(self.log_folder), self._log_format).encode())
        class_path = [str(home / "ts" / "frontend" / "*")]
        if plugins := self._properties.get("plugins_path"):
            class_path.append(plugins if "*" in plugins else f"{plugins}/*")
        python = self._fork_server.python if self._fork_server else sys.executable
        models = [f"{name}={file}" for name, file in self._archives.items()]
        return [
            str(java),
            f"-Dmodel_server_home={home}",
            f"-Dlog4j.configurationFile={log_config.as_uri()}",
            f"-Djava.io.tmpdir={self.folder}",
            "-XX:-UsePerfData",  # a folder for monitors in the system's temporary folder
            common_pool(),
            *self._security(java),
            *self._properties.get("vmargs", "").split(),
            *("-cp", os.pathsep.join(class_path), "org.pytorch.serve.ModelServer"),
            *("--python", str(python), "-f", str(config), "-s", str(self._model_store)),
            *("-ncs", *(["-m", *models] if models else [])),
        ]

    def _security(self, java: Path) -> list[str]:
        """Return the option for TLS without old suites; one in `vmargs` comes later, and counts."""
        if (text := security_properties(java)) is None:
            return []
        path = self.folder / "security.properties"
        path.write_text(text)
        return [f"-Djava.security.properties={path}"]

    def missing(self) -> str | None:
        """Return what was removed of the server's folder that workers or clients need."""
        if (folder := super().missing()) is not None:
            return folder
        now = {name for name in _NEEDED if (self.folder / name).exists()}
        self._needed |= now
        return next((str(self.folder / name) for name in sorted(self._needed - now)), None)

    def end(self, patience: float = 10.0) -> None:
        """End the front end and every worker; `restart` brings them back."""
        if self.process is not None:
            end_server(self.pid, patience)
            self.process.wait()
        if self._fork_server is not None:
            self._fork_server.stop()
