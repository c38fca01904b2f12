"""What is put under faults: Marsmith's server asked by its client, and TorchServe as it comes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psutil

from marsmith.answers.messages import Response
from marsmith.client import ONCE, Client, Retries
from marsmith.client.workers_up import PATIENCE
from marsmith.core.errors import UnreachableError
from marsmith.core.processes import end_group
from marsmith.project.project import Project
from marsmith.server.process import KEY_FILE
from marsmith.server.state import ServerState, running_servers
from marsmith.torchserve.ports import free_ports
from tests.faults.archives import project
from tests.faults.load import DEADLINE, Ask, Tally, load
from tests.integration.kit import BIN, Kit, leftovers, wait_for

# Outlasts a front end that is started again, with worker_patience=None: half a minute of asking.
PATIENT = Retries(attempts=60, first=0.1, longest=1.0)
_PAUSE = 0.1  # seconds between the tries of somebody who cannot connect


@dataclass(frozen=True)
class Server(ABC):
    """A server of the archives that fail. Each version is told with its scale and default."""

    kit: Kit
    port: int

    @property
    @abstractmethod
    def front_end(self) -> int:
        """The process of the front end."""

    @abstractmethod
    def client(self, retries: Retries | None = None) -> Client:
        """Return Marsmith's client for it."""

    @abstractmethod
    def loaded(self, model: str, connections: int) -> AbstractContextManager[Tally]:
        """Load one of its models."""

    def pids(self, model: str, version: str | None = None) -> list[int]:
        """Return the processes of a model's workers that run."""
        with self.client() as client:
            (described,) = client.describe(model, version)
        return [worker.pid for worker in described.workers if worker.pid > 0]

    def is_whole(self, model: str) -> bool:
        """Whether all workers of a model's versions are up."""
        try:
            with self.client() as client:
                described = client.describe(model)
        except UnreachableError:
            return False
        return all(one.ready_workers >= max(one.min_workers, 1) for one in described)

    def versions(self, model: str) -> list[tuple[str, bool, int, int]]:
        """Return what is served: version, whether it is the default, and scale."""
        with self.client() as client:
            return sorted(
                (one.version, one.default, one.min_workers, one.max_workers)
                for one in client.describe(model)
            )


@dataclass(frozen=True)
class Station(Server):
    """Marsmith's, loaded through its client."""

    @property
    def state(self) -> ServerState:
        """What Marsmith knows of it now."""
        return next(one for one in running_servers(Project(self.kit.root)) if one.port == self.port)

    @property
    def front_end(self) -> int:
        return self.state.front_end[0]

    def client(self, retries: Retries | None = None) -> Client:
        return Client(
            f"http://127.0.0.1:{self.port}",
            key_file=Path(self.state.folder) / KEY_FILE,
            retries=retries,
            deadline=DEADLINE,
            worker_patience=None if retries is PATIENT else PATIENCE,
        )

    @contextmanager
    def loaded(
        self, model: str, connections: int, retries: Retries | None = None
    ) -> Iterator[Tally]:
        with self.client(retries) as client:
            ask: Ask = lambda body: client.predict(model, body)  # noqa: E731
            with load(ask, connections) as tally:
                yield tally


@dataclass(frozen=True)
class Stock(Server):
    """TorchServe with its own configuration, but for where it listens; loaded through httpx2."""

    process: int

    @property
    def front_end(self) -> int:
        started = psutil.Process(self.process)
        family = [started, *started.children(recursive=True)]
        return next(one.pid for one in family if one.name() == "java")

    def client(self, retries: Retries | None = None) -> Client:
        return Client(f"http://127.0.0.1:{self.port}", retries=retries or ONCE)

    def loaded(self, model: str, connections: int) -> AbstractContextManager[Tally]:
        return plainly_loaded(f"http://127.0.0.1:{self.port}/predictions/{model}", connections)


@dataclass(frozen=True)
class Gateway:
    """A gateway in front of Marsmith's server, loaded through httpx2."""

    kit: Kit
    port: int
    backend: str

    def url(self, model: str) -> str:
        """Return where a model is asked."""
        return f"http://127.0.0.1:{self.port}/models/{model}/predict"

    def loaded(self, model: str, connections: int) -> AbstractContextManager[Tally]:
        """Load one of its models."""
        return plainly_loaded(self.url(model), connections)

    def curl(self, model: str) -> bytes:
        """Return what curl is told."""
        command = ["curl", "-s", "--data-binary", "a request", self.url(model)]
        return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout

    def problem(self, model: str) -> tuple[int, str]:
        """Return the status and the code that curl is refused with."""
        values = json.loads(self.curl(model))
        return values["status"], values["code"]

    def with_full_queue(self, pause: float) -> tuple[Tally, tuple[int, str]]:
        """Load `queueing` until its queue is full, and `pause` seconds on; return its refusal."""
        blocked = self.kit.root / "blocked"
        blocked.touch()
        try:
            with self.loaded("queueing", 32) as tally:
                wait_for(lambda: tally.refused > 32, "the queue to be full")
                refusal = self.problem("queueing")
                blocked.unlink()
                time.sleep(pause)
        finally:
            blocked.unlink(missing_ok=True)
        return tally, refusal


@contextmanager
def plainly_loaded(url: str, connections: int) -> Iterator[Tally]:
    """Load a URL through httpx2, which tries nothing twice."""
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=connections)
    with httpx2.Client(timeout=DEADLINE, trust_env=False, limits=limits) as client:

        def ask(body: bytes) -> Response:
            try:
                got = client.post(url, content=body)
            except httpx2.TransportError as error:
                if isinstance(error, httpx2.ConnectError):
                    time.sleep(_PAUSE)
                raise UnreachableError(type(error).__name__, "none") from error
            return Response(got.status_code, got.reason_phrase, dict(got.headers), got.content)

        with load(ask, connections) as tally:
            yield tally


@contextmanager
def gateway(kit: Kit, backend: str) -> Iterator[Gateway]:
    """Run a gateway of a project."""
    port = free_ports(2)
    kit("gateway", "--backend", backend, "--port", port, "--background")
    try:
        yield Gateway(kit, port, backend)
    finally:
        kit("stop", "--port", port)


@contextmanager
def served(
    root: Path,
    *names: str,
    prepare: Callable[[Kit], None] = lambda _: None,
    env: dict[str, str] | None = None,
    secure: bool = False,
) -> Iterator[Station]:
    """Serve these archives for as long as it is needed; `prepare` changes the project before.

    `secure`: with tokens, without which no version can be deployed.
    """
    kit = project(root, *names)
    prepare(kit)
    port = free_ports(5)
    kit("serve", "--background", "--port", port, *["--secure"] * secure, env=env)
    try:
        yield Station(kit, port)
    finally:
        kit("stop", "--port", port)


@contextmanager
def stock_served(
    root: Path,
    *names: str,
    options: tuple[str, ...] = (),
    env: dict[str, str] | None = None,
) -> Iterator[Stock]:
    """Serve these archives as `torchserve --start` does; its logs are in `root`/logs."""
    kit, port = project(root, *names), free_ports(5)
    kinds = ("inference", "management", "metrics")
    lines = [f"{kind}_address=http://127.0.0.1:{port + i}\n" for i, kind in enumerate(kinds)]
    lines += [f"grpc_{kind}_port={port + 3 + i}\n" for i, kind in enumerate(kinds[:2])]
    kit.write("stock.properties", "".join(lines))
    command = [str(BIN / "torchserve"), "--start", "--foreground", "--ncs", "--disable-token-auth"]
    command += ["--model-store", str(root / "model_store"), *options]
    command += ["--models", *(f"{name}={name}.mar" for name in names)]
    command += ["--ts-config", str(root / "stock.properties")]
    folder = Path(tempfile.mkdtemp(prefix="stock-"))
    own = {"TMPDIR": str(folder), "TEMP": str(folder), "PATH": f"{BIN}:{os.environ['PATH']}"}
    with subprocess.Popen(
        command,
        cwd=root,
        env={**(env or os.environ), **own},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # TorchServe's Java does not end with the script that started it
    ) as process:
        try:
            running = Stock(kit, port, process.pid)
            for name in names:
                wait_for(lambda name=name: running.is_whole(name), name, 120)  # type: ignore[misc]
            yield running
        finally:
            end_group(process.pid)
    wait_for(lambda: not leftovers(str(folder)), "TorchServe to stop")
    shutil.rmtree(folder)
