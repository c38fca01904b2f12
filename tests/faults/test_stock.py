"""The same worker faults on TorchServe as it comes, asked by a client without retries.

It asserts nothing of TorchServe: it gives docs/reliability.md the figures to compare with.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from marsmith.client import ONCE, Client
from marsmith.errors import UnreachableError
from marsmith.messages import Response
from marsmith.ports import free_ports
from marsmith.processes import end_group
from tests.faults.archives import project
from tests.faults.conftest import Scale
from tests.faults.load import DEADLINE, Tally, load
from tests.faults.results import record
from tests.faults.worker_faults import FAULTS, MODELS
from tests.integration.kit import BIN, leftovers, wait_for

pytestmark = pytest.mark.faults


@dataclass(frozen=True)
class Stock:
    """TorchServe with its own configuration, but for where it listens."""

    port: int

    def client(self) -> Client:
        """Return a client for the tests to look with."""
        return Client(f"http://127.0.0.1:{self.port}", retries=ONCE)

    def pids(self, model: str) -> list[int]:
        """Return the processes of a model's workers that run."""
        with self.client() as client:
            (described,) = client.describe(model)
        return [worker.pid for worker in described.workers if worker.pid > 0]

    def is_whole(self, model: str) -> bool:
        """Whether all workers of a model are up."""
        try:
            with self.client() as client:
                (described,) = client.describe(model)
        except UnreachableError:
            return False
        return described.ready_workers >= max(described.min_workers, 1)

    @contextmanager
    def loaded(self, model: str, connections: int) -> Iterator[Tally]:
        """Load one of its models through plain httpx."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=connections)
        url = f"http://127.0.0.1:{self.port}/predictions/{model}"
        with httpx.Client(timeout=DEADLINE, trust_env=False, limits=limits) as client:

            def ask(body: bytes) -> Response:
                try:
                    got = client.post(url, content=body)
                except httpx.TransportError as error:
                    raise UnreachableError(type(error).__name__, "none") from error
                return Response(got.status_code, got.reason_phrase, dict(got.headers), got.content)

            with load(ask, connections) as tally:
                yield tally


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stock]:
    kit = project(tmp_path_factory.mktemp("stock"), *MODELS)
    port = free_ports(5)
    names = ("inference", "management", "metrics")
    lines = [f"{name}_address=http://127.0.0.1:{port + i}\n" for i, name in enumerate(names)]
    lines += [f"grpc_{name}_port={port + 3 + i}\n" for i, name in enumerate(names[:2])]
    kit.write("stock.properties", "".join(lines))
    models = [f"{name}={name}.mar" for name in MODELS]
    command = [str(BIN / "torchserve"), "--start", "--foreground", "--ncs", "--disable-token-auth"]
    command += ["--model-store", str(kit.root / "model_store"), "--models", *models]
    command += ["--ts-config", str(kit.root / "stock.properties")]
    temporary = Path(tempfile.mkdtemp(prefix="stock-"))
    path = f"{BIN}:{os.environ['PATH']}"
    environment = {**os.environ, "TMPDIR": str(temporary), "TEMP": str(temporary), "PATH": path}
    with subprocess.Popen(
        command,
        cwd=kit.root,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # TorchServe's Java does not end with the script that started it
    ) as process:
        running = Stock(port)
        for model in MODELS:
            wait_for(lambda name=model: running.is_whole(name), model, 120)  # type: ignore[misc]
        yield running
        end_group(process.pid)
    wait_for(lambda: not leftovers(str(temporary)), "TorchServe to stop")
    shutil.rmtree(temporary)


@pytest.mark.parametrize("fault", FAULTS)
def test_what_torchserve_does(
    stock: Stock, scale: Scale, request: pytest.FixtureRequest, fault: str
) -> None:
    model, inject = FAULTS[fault]
    wait_for(lambda: stock.is_whole(model), f"the workers of {model}", 120)
    with stock.loaded(model, scale.connections) as tally:
        time.sleep(scale.seconds / 4)
        inject(lambda: stock.pids(model))
        time.sleep(scale.seconds * 3 / 4)
    print(f"{fault}: {tally}")  # noqa: T201
    if name := request.config.getoption("--faults-results"):
        record(Path(name), "torchserve", {fault: tally.figures()})
    assert tally.sent
