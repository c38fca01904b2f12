"""The servers that are compared: started from a command, proven by their answers, ended whole."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

import httpx2
import psutil

from bench.answers import Case
from bench.failures import SystemFailedError
from bench.places import LOGS
from marsmith.core.processes import end_children_of, end_group
from marsmith.torchserve.ports import free_ports

_PATIENCE = 180.0  # seconds until the first right answer: Ray Serve takes half a minute
_PORTS = 5  # TorchServe listens on five in a row


@dataclass(frozen=True)
class Request:
    """What is sent over HTTP."""

    path: str
    content_type: str
    body: bytes


def post_raw(path: str) -> Callable[[Case], Request]:
    """Send a picture as the body of a request."""
    return lambda case: Request(path, case.content_type, case.body)


def post_form(path: str, field_name: str) -> Callable[[Case], Request]:
    """Send a picture as a file in a form, for systems that take no other bodies."""
    boundary = "marsmith-bench-boundary"

    def request(case: Case) -> Request:
        disposition = f'Content-Disposition: form-data; name="{field_name}"; filename="picture"'
        head = f"--{boundary}\r\n{disposition}\r\nContent-Type: {case.content_type}\r\n\r\n"
        body = head.encode() + case.body + f"\r\n--{boundary}--\r\n".encode()
        return Request(path, f"multipart/form-data; boundary={boundary}", body)

    return request


@dataclass
class System:
    """One server. `command` gets the first of five free ports and a folder of its own."""

    name: str
    cases: Sequence[Case]
    command: Callable[[int, Path], Sequence[str | Path]]
    request: Callable[[Case], Request]
    environment: Mapping[str, str] = field(default_factory=dict)
    busy_when_idle: bool = False  # runs alone then, so that the others do not pay for it
    warm_up: float = float("inf")  # seconds that are enough for it
    paths: Sequence[str] = ()  # asked in turn under load; empty: the one that `request` says
    notes: Sequence[str] = ()  # what is reported beside its numbers
    url: str = ""
    process: subprocess.Popen[bytes] | None = None
    _folder: Path = Path()
    _turns: Iterator[Case] = field(init=False)
    _client: httpx2.Client = field(
        default_factory=lambda: httpx2.Client(trust_env=False, timeout=60)
    )

    def __post_init__(self) -> None:
        """Begin with the first case."""
        self.ask(self.cases)

    def ask(self, cases: Sequence[Case]) -> None:
        """Ask these from now on."""
        self.cases, self._turns = cases, cycle(cases)

    def launch(self) -> None:
        """Start the process, without waiting for anything."""
        # A short name: it becomes part of the paths of sockets, which have room for 107 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="mb-"))
        port = free_ports(_PORTS)
        self.url = f"http://127.0.0.1:{port}"
        LOGS.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(  # noqa: S603
                self.command(port, self._folder),
                cwd=self._folder,
                env={**os.environ, **self.environment, "TMPDIR": str(self._folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # one group to end
            )

    def start(self) -> None:
        """Start it and return once every case has had its right answer."""
        self.launch()
        self.wait()
        self.check()

    def wait(self, interval: float = 0.1) -> None:
        """Wait for the first right answer, asking every `interval` seconds."""
        deadline = time.monotonic() + _PATIENCE
        while (problem := self._problem(self.cases[0])) is not None:
            if self.process is None or self.process.poll() is not None:
                raise SystemFailedError(f"it ended by itself; its log: {self.log}")
            if time.monotonic() > deadline:
                raise SystemFailedError(f"{problem}; its log: {self.log}")
            time.sleep(interval)

    def check(self, count: int | None = None) -> None:
        """Ask so many cases, the next ones each time, or all. Raises SystemFailedError if wrong."""
        some = self.cases if count is None else islice(self._turns, count)
        for case in some:
            problem = self._problem(case)
            if problem is not None:
                raise SystemFailedError(f"{case.name}: {problem}")

    def stop(self) -> None:
        """End the process and all that it started."""
        if self.process is None:
            return
        end_group(self.process.pid)
        self.process.wait()
        end_children_of(self._folder)  # Ray's processes leave the group
        shutil.rmtree(self._folder, ignore_errors=True)
        self.process = None

    @property
    def log(self) -> Path:
        """Where the output of the process goes."""
        return LOGS / f"{self.name.replace(' ', '-').replace(',', '')}.log"

    def _problem(self, case: Case) -> str | None:
        request = self.request(case)
        headers = {"Content-Type": request.content_type}
        try:
            answer = self._client.post(
                self.url + request.path, content=request.body, headers=headers
            )
        except httpx2.HTTPError as error:
            return f"no answer ({type(error).__name__})"
        if answer.status_code != 200:
            return f"status {answer.status_code}: {answer.text[:200]}"
        try:
            return case.check(answer.content)
        except (ValueError, KeyError, AttributeError) as error:
            return f"an answer of another form ({error}): {answer.text[:200]}"


def with_workers(leader: int) -> list[psutil.Process]:
    """Return what holds TorchServe's models, below the process that was started.

    Its workers, what they are forked from, and what stands for them; not its collector of metrics,
    which comes and goes.
    """
    parts = ("fork_server.py", "/ts/model_service_worker.py")
    found = []
    for one in psutil.Process(leader).children(recursive=True):
        with suppress(psutil.Error):  # it ended meanwhile
            if any(part in " ".join(one.cmdline()) for part in parts):
                found.append(one)
    return found
