"""The local back end with real workers, asked without HTTP."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from marsmith.answers.messages import Request
from marsmith.building.building import build
from marsmith.core.errors import WorkerError
from marsmith.core.processes import have_ended
from marsmith.gateway.backend import Answer, Call, Registration
from marsmith.gateway.local.backend import LocalBackend
from marsmith.gateway.refusals import GatewayError
from marsmith.gateway.served import Served, Settings
from marsmith.server.process import WORKERS_LOG
from marsmith.torchserve.log_records import parse_line
from tests.codes import coded
from tests.projects import make_project

pytestmark = pytest.mark.processes
HANDLER = """\
import os, sys, time
{top}

class Handler:
    def initialize(self, context):
        print("loaded by", os.getpid(), flush=True)

    def handle(self, data, context):
        return [self.answer(row["body"], context) for row in data]

    def answer(self, body, context):
        command, _, rest = bytes(body).decode().partition(" ")
        if command == "modules":
            return [name for name in rest.split() if name in sys.modules]
        if command == "sleep":
            time.sleep(float(rest))
        if command == "exit":
            os._exit(3)
        if command == "quit":
            sys.exit(4)
        if command == "raise":
            raise RuntimeError(rest)
        return f"{{os.getpid()}} {{command}} {{rest}}"
"""
SPEC = """\
[archives.{name}]
version = "{version}"
handler = "{name}.py"
serving = {{ maxWorkers = {most}, batchSize = 2, maxBatchDelay = 1, responseTimeout = 1 }}

"""


class Place:
    """A project with archives, and settings of a gateway for them."""

    def __init__(self, root: Path, *names: str, top: str = "", most: int = 1) -> None:
        self.root = root
        self._most = most
        for name in names:
            self.build(name, top=top)

    def build(self, name: str, version: str = "1.0", top: str = "") -> str:
        """Build an archive; return its file."""
        spec = SPEC.format(name=name, version=version, most=self._most)
        files = {f"{name}.py": HANDLER.format(top=top)}
        build(make_project(self.root, files, spec))
        path = self.root / "model_store" / f"{name}.mar"
        return path.rename(path.with_name(f"{name}-{version}.mar")).name

    def settings(self, folder: Path, *names: str) -> Settings:
        for one in ("logs", "tmp"):
            (folder / one).mkdir()
        return Settings(
            "local",
            str(self.root),
            str(self.root / "model_store"),
            str(folder / "logs"),
            {"default_workers_per_model": "1"},
            tuple(Served(name, f"{name}-1.0.mar") for name in names),
            folder=str(folder / "tmp"),
        )


@asynccontextmanager
async def running(place: Place, *names: str) -> AsyncIterator[tuple[LocalBackend, Path]]:
    with tempfile.TemporaryDirectory(prefix="t") as folder:
        backend = LocalBackend(place.settings(Path(folder), *names))
        try:
            await backend.start()
            yield backend, Path(folder) / "logs" / WORKERS_LOG
        finally:
            await backend.stop()
        assert list((Path(folder) / "tmp" / "models").iterdir()) == []


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 60))


async def ask(backend: LocalBackend, text: str, model: str = "one", **more: Any) -> Answer:
    call = Call(model, Request(text.encode()), str(uuid.uuid4()), **more)
    return await backend.predict(call)


async def told(backend: LocalBackend, text: str, **more: Any) -> str:
    return (await ask(backend, text, **more)).response.text


def test_a_worker_without_torch_answers_and_logs(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(Place(tmp_path, "one"), "one") as (backend, log):
            assert await told(backend, "modules torch ts numpy json") in (
                '[\n  "numpy",\n  "json"\n]',
                '[\n  "json"\n]',
            )
            (worker,) = (await backend.describe("one")).workers
            assert (await told(backend, "hello")).split()[0] == str(worker.pid)
            record = parse_line(log.read_text().splitlines()[0])
            assert record is not None
            assert record.stream is not None
            assert (record.stream.model, record.stream.worker) == ("one", worker.id)
            assert record.message == f"loaded by {worker.pid}"

    run(test())


def test_the_true_cause_of_a_failed_load_is_told(tmp_path: Path) -> None:
    async def test() -> None:
        with pytest.raises(WorkerError, check=coded("model-not-loaded")) as failed:
            async with running(Place(tmp_path, "one", top="import nothing_here"), "one"):
                pass
        assert "one.py:2" in failed.value.message
        assert "nothing_here" in failed.value.message

    run(test())


def test_who_exits_or_hangs_pays_alone(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(Place(tmp_path, "one"), "one") as (backend, log):
            asked = [ask(backend, text) for text in ("a", "exit", "b", "sleep 60", "c", "raise x")]
            found = await asyncio.gather(*asked, return_exceptions=True)
            words = [
                one.code if isinstance(one, GatewayError) else one.response.text.split()[1:2]
                for one in found
                if isinstance(one, (GatewayError, Answer))
            ]
            assert words[:5] == [["a"], "worker-died", ["b"], "answer-late", ["c"]]
            assert isinstance(found[5], Answer)
            assert found[5].response.status == 503
            with pytest.raises(GatewayError, check=coded("worker-died")):
                await ask(backend, "quit")
            assert (await told(backend, "again")).split()[1] == "again"
            records = [parse_line(line) for line in log.read_text().splitlines()]
            for ending, times in (
                ("with exit status 3", 2),
                ("with exit status 4", 2),
                ("within 1 s", 1),
            ):
                ends = [one for one in records if one and ending in one.message]
                assert len(ends) >= times
                assert all(one.stream and one.stream.model == "one" for one in ends)

    run(test())


def test_behind_a_worker_that_hangs_another_is_started(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(Place(tmp_path, "one", most=2), "one") as (backend, _):
            hangs = asyncio.ensure_future(ask(backend, "sleep 60"))
            await asyncio.sleep(0.05)
            answer = await ask(backend, "x")
            assert answer.response.ok
            assert not hangs.done()  # its response timeout of 1 s has not passed
            with pytest.raises(GatewayError, check=coded("answer-late")):
                await hangs

    run(test())


def test_versions_come_and_go_without_losing_a_request(tmp_path: Path) -> None:
    async def test() -> None:
        place = Place(tmp_path, "one")
        second = place.build("one", "2.0")
        async with running(place, "one") as (backend, _):
            with pytest.raises(GatewayError, check=coded("version-unknown")):
                await ask(backend, "x", version="2.0")
            new = await backend.register(Registration(second, synchronous=True, initial_workers=1))
            assert (new.version, new.default, new.ready_workers) == ("2.0", False, 1)
            with pytest.raises(GatewayError, check=coded("already-registered")):
                await backend.register(Registration(second))
            with pytest.raises(GatewayError, check=coded("not-in-store")):
                await backend.register(Registration(f"../{second}"))
            with pytest.raises(GatewayError, check=coded("default-version")):
                await backend.unregister("one", "1.0")
            await backend.set_default("one", "2.0")
            still_open = asyncio.ensure_future(ask(backend, "sleep 0.5", version="1.0"))
            await asyncio.sleep(0.1)
            await backend.unregister("one", "1.0")
            assert (await still_open).version == "1.0"
            assert (await ask(backend, "x")).version == "2.0"
            assert [one.version for one in await backend.models()] == ["2.0"]

    run(test())


def test_workers_are_added_while_many_wait_and_by_hand(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(Place(tmp_path, "one", most=2), "one") as (backend, _):
            assert await backend.health() == "Healthy"
            many = await asyncio.gather(*(told(backend, "sleep 0.1") for _ in range(24)))
            assert len({text.split()[0] for text in many}) == 2
            scaled = await backend.scale("one", None, 3, 3, wait=True)
            assert scaled.ready_workers == 3
            await backend.scale("one", None, 0, 0, wait=True)
            with pytest.raises(GatewayError, check=coded("no-worker-up")):
                await ask(backend, "x")
            await backend.scale("one", None, 0, 1, wait=False)
            assert (await told(backend, "wakes it")).split()[1] == "wakes"
            with pytest.raises(GatewayError, check=coded("bad-worker-count")):
                await backend.scale("one", None, 2, 1, wait=False)

    run(test())


def test_requests_that_wait_are_answered_before_the_last_worker_goes(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(Place(tmp_path, "one"), "one") as (backend, _):
            asked = [asyncio.ensure_future(told(backend, "sleep 0.1")) for _ in range(24)]
            await asyncio.sleep(0.05)
            await backend.scale("one", None, 0, 0, wait=True)
            assert len({text.split()[0] for text in await asyncio.gather(*asked)}) == 1
            assert (await backend.describe("one")).workers == ()

    run(test())


def test_a_fork_server_that_was_killed_is_started_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(Place(tmp_path, "one"), "one") as (backend, _):
            (worker,) = (await backend.describe("one")).workers
            process = psutil.Process(worker.pid)
            os.kill(process.ppid(), signal.SIGKILL)
            await asyncio.to_thread(have_ended, [process], 10)
            assert int((await told(backend, "again")).split()[0]) != worker.pid

    run(test())


@pytest.mark.skipif(sys.platform != "linux", reason="fork servers need pidfd_open")
def test_without_a_fork_server_workers_are_plain_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with running(Place(tmp_path, "one"), "one") as (backend, _):
            assert (await told(backend, "hello")).split()[1] == "hello"
            assert await told(backend, "modules torch") == "[]"

    monkeypatch.delattr("os.pidfd_open")
    run(test())
