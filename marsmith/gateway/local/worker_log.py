"""What workers print, as lines of workers.log, in the form of torchserve/log_records.py."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from marsmith.core.private_files import open_private
from marsmith.torchserve.log_files import log_files

_LARGEST = 10 << 20  # bytes of a file, and as many older files, as in log_config.py
_OLDER = 3
_AT_ONCE = 1 << 16  # bytes
_LONGEST = 1 << 20  # bytes of a line
_KEPT = 2000  # lines, to explain why a model was not loaded
# What TorchServe's front end keeps out of this log, too: metrics, and a line per batch.
_NOT_LOGGED = ("[METRICS]", "Backend received inference at: ")


class WorkersLog:
    """The file workers.log; it is cut into files as log4j does it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, thread: str, lines: list[str]) -> None:
        """Add lines of one stream of a worker; without a writable disk they are lost."""
        now = datetime.now().isoformat(timespec="milliseconds").replace(".", ",")
        text = "".join(f"{now} {thread} {line}\n" for line in lines)
        with suppress(OSError):
            with open_private(self._path) as file:
                file.write(text.encode(errors="replace"))
                size = file.tell()
            if size > _LARGEST:
                self._roll()

    def _roll(self) -> None:
        """Give the file a number: the highest is the latest."""
        *older, path = log_files(self._path)
        if len(older) >= _OLDER:
            older[0].unlink()
            for number, one in enumerate(older[1:], 1):
                one.rename(self._numbered(number))
        path.rename(self._numbered(min(len(older), _OLDER - 1) + 1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.stem}.{number}{self._path.suffix}")


class WorkerOutput:
    """Reads one stream of a worker from a pipe into the log."""

    def __init__(self, pipe: int, thread: str, log: WorkersLog) -> None:
        """Take the pipe's descriptor, which is closed at its end."""
        self.pipe = pipe
        self._thread = thread
        self._log = log
        self._begun = b""  # a line without its end
        self.first_lines: list[str] = []
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        os.set_blocking(pipe, False)
        self._loop.add_reader(pipe, self._read)

    def close(self) -> None:
        """Read no more."""
        if not self.ended.done():
            self._loop.remove_reader(self.pipe)
            os.close(self.pipe)
            self.ended.set_result(None)

    def _read(self) -> None:
        try:
            data = os.read(self.pipe, _AT_ONCE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._take(data)
        if not data:
            self.close()

    def _take(self, data: bytes) -> None:
        *whole, self._begun = (self._begun + data).split(b"\n")
        if self._begun and (not data or len(self._begun) > _LONGEST):
            whole, self._begun = [*whole, self._begun], b""
        lines = [line.decode(errors="replace").rstrip("\r") for line in whole]
        lines = [line for line in lines if not line.startswith(_NOT_LOGGED)]
        self.first_lines += lines[: _KEPT - len(self.first_lines)]
        if lines:
            self._log.write(self._thread, lines)
