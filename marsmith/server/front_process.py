"""A front end that this process runs: TorchServe, or a gateway's web process."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from marsmith.core.errors import MarsmithError
from marsmith.core.private_files import create_private, open_private
from marsmith.server.own_folder import OwnFolder
from marsmith.torchserve.log_files import LogTails, log_files

SUPERVISOR_LOG = "supervisor.log"  # Marsmith's own: what ended and is restarted


class FrontProcess(ABC):
    """A front end and its workers: started, watched, started again after a death, and stopped.

    It has a folder of its own for sockets and keys.
    """

    what: str  # the front end, for people
    in_front = False  # of TorchServes, which run the models

    def __init__(self, log_folder: Path, logs: Sequence[str]) -> None:
        """Prepare; `logs` are the names of its logs in their folder."""
        self.log_folder = log_folder
        self.own_folder = OwnFolder()
        self.process: subprocess.Popen[bytes] | None = None
        self._log_names = logs
        self._continue_logs()

    def start(self, begun: Callable[[], None] = lambda: None) -> None:
        """Start it. Raises PortInUseError or ServerError; then nothing is left behind.

        `begun` is called before there is any process: a record of the server is then complete
        whenever this process is killed.
        """
        try:
            self._take_addresses()
            self._begin_logs()
            self.own_folder.make()
            begun()
            self._launch()
        except BaseException:
            self._let_go()
            raise

    @abstractmethod
    def restart(self, changed: Mapping[str, str]) -> None:
        """Start it again after its end, with `changed` properties. Raises as `start` does."""

    @abstractmethod
    def end(self, patience: float = 10.0) -> None:
        """End it within `patience` seconds; `restart` brings it back."""

    def stop(self, patience: float = 10.0) -> None:
        """End it and all of its workers, and remove its folder."""
        if self.process is not None:
            self.end(patience)
            self._let_go()

    def revive_fork_server(self) -> None:  # noqa: B027 (usually there is none)
        """Restart what workers are forked from, if it was killed."""

    def missing(self) -> str | None:
        """Return what was removed of its folder that workers or clients need."""
        return None if self.own_folder.is_ours else str(self.folder)

    def listens(self) -> bool:
        """Whether it can be asked; a request to one that cannot may wait for it."""
        return True

    def problem(self) -> MarsmithError | None:
        """Return why a model cannot be loaded, where the front end itself tells."""
        return None

    @property
    def folder(self) -> Path:
        """The server's temporary folder, which exists while it runs."""
        return self.own_folder.path

    @property
    def pid(self) -> int:
        """The front end's process id. Only after start()."""
        if self.process is None:
            raise RuntimeError("not started")
        return self.process.pid

    def is_running(self) -> bool:
        """Whether the front end's process lives."""
        return self.process is not None and self.process.poll() is None

    @property
    def ending(self) -> str:
        """How the front end's process ended."""
        status = None if self.process is None else self.process.returncode
        return f"by signal {-status}" if status is not None and status < 0 else f"with {status}"

    def note(self, words: str) -> None:
        """Add a line to Marsmith's own log of this server, in TorchServe's format."""
        now = datetime.now().isoformat(timespec="milliseconds").replace(".", ",")
        with suppress(OSError), open_private(self.log_folder / SUPERVISOR_LOG) as log:
            log.write(f"{now} supervisor WARN marsmith {words}\n".encode())

    def log(self, name: str) -> str:
        """Return one of this run's logs as text, whatever its format; a log of others is empty."""
        return self._logs.read(name) if name in self._log_names else ""

    @abstractmethod
    def _take_addresses(self) -> None:
        """Raise PortInUseError or ServerError unless it can listen at its addresses."""

    @abstractmethod
    def _launch(self) -> None:
        """Start its process."""

    def _let_go(self) -> None:
        """Leave nothing behind."""
        self.own_folder.remove()

    def _launch_process(
        self, command: Sequence[str | Path], environment: dict[str, str], log: IO[Any], **how: Any
    ) -> None:
        self.process = subprocess.Popen(  # noqa: S603
            command,
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a terminal's Ctrl-C must not reach it
            **how,
        )

    def _begin_logs(self) -> None:
        """Start all logs anew."""
        self.log_folder.mkdir(parents=True, exist_ok=True)
        for name in self._log_names:
            *older, _ = log_files(self.log_folder / name)
            for path in older:
                path.unlink(missing_ok=True)
            create_private(self.log_folder / name).close()
        self._continue_logs()

    def _continue_logs(self) -> None:
        """Read them from here on."""
        self._logs = LogTails(self.log_folder, self._log_names)
