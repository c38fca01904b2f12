"""Starts workers of a version: a process, the connection to it, and its model in it."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from marsmith.answers.messages import Request
from marsmith.archive.reader import Archive
from marsmith.core.errors import WorkerError
from marsmith.core.findings import Finding
from marsmith.gateway.keeping import KeeperClient, Kept
from marsmith.gateway.local.forking import Child, ForkServers, Lifeline, connected
from marsmith.gateway.local.worker import LocalWorker
from marsmith.gateway.local.worker_log import WorkerOutput, WorkersLog
from marsmith.gateway.served import Settings
from marsmith.project.accepted_code import accepted_by
from marsmith.project.project import Project
from marsmith.server.process import WORKERS_LOG
from marsmith.server.version_record import Version
from marsmith.torchserve.devices import gpu_of, gpus_here
from marsmith.torchserve.worker_protocol import batch_of, encode_load, encode_request
from marsmith.worker.choice import uses_torchserve
from marsmith.worker.command import unpack, worker_arguments, worker_environment
from marsmith.worker.lost import ended, late
from marsmith.worker.sandbox import End

_PAUSE = 0.005  # seconds between two looks for the worker's socket
_STARTUP_TIMEOUT = 120  # seconds; TorchServe's own (ConfigManager.java)
_FIRST_NUMBER = 9000  # of workers, as TorchServe counts them
_LAST_WORDS = 1.0  # seconds for what a worker prints at its end


class Workshop:
    """What all workers of a gateway share."""

    def __init__(self, settings: Settings) -> None:
        self.properties = settings.properties
        self.folder = Path(settings.folder)
        self.accepted = accepted_by(Project(Path(settings.project)))
        self.log = WorkersLog(Path(settings.log_folder) / WORKERS_LOG)
        self.forks = ForkServers(self.folder, Path(settings.log_folder), os.getppid())
        self.keeper = KeeperClient(settings.keeper)
        self.numbers = itertools.count(_FIRST_NUMBER)

    def take_back(self) -> list[Kept]:
        """Return the workers that an earlier web process has left."""
        kept = self.keeper.take_back()
        self.numbers = itertools.count(max((one.id + 1 for one in kept), default=_FIRST_NUMBER))
        return kept

    def give_up(self, kept: Kept) -> None:
        """End a worker that is not needed any more."""
        for one in kept.descriptors:
            os.close(one)
        self.keeper.forget(kept.id)

    def close(self) -> None:
        """End what workers are forked from."""
        self.forks.stop()
        self.keeper.close()


class Starter:
    """Starts the workers of a version."""

    def __init__(
        self,
        shop: Workshop,
        archive: Archive,
        serving: Version,
        startup_timeout: int | None = None,
        unpacked: str | None = None,
    ) -> None:
        """Unpack the archive, unless it is already for workers that live on. Raises ArchiveError.

        The timeout is in seconds.
        """
        self.archive, self.serving = archive, serving
        self._shop = shop
        envelope = shop.properties.get("service_envelope", "").strip()
        self._envelope = envelope or archive.manifest.envelope or ""
        self._torchserve = uses_torchserve(archive, self._envelope)
        waits = number_of(shop.properties, "default_startup_timeout", _STARTUP_TIMEOUT)
        self._timeout = startup_timeout or number_of(archive.model_config, "startupTimeout", waits)
        self.model = Path(unpacked) if unpacked else unpack(archive, shop.folder, shop.accepted)

    async def start(self) -> LocalWorker:
        """Start one. Raises WorkerError with the true cause if it cannot load its model."""
        number = next(self._shop.numbers)
        address = self.model.parents[1] / f".ts.sock.{number}"
        worker = await self._process(number, address)
        try:
            await asyncio.wait_for(self._load(worker, address), self._timeout)
        except (ConnectionError, asyncio.TimeoutError) as error:
            cause = await self._cause(worker, error)
            # As TorchServe's worker says it: that is what the log is searched for.
            self._log(number, f"Backend worker process died: {cause.message}")
            raise self._not_loaded(cause) from None
        finally:
            address.unlink(missing_ok=True)
            if not worker.is_loaded:
                await worker.end()
        about = {"model": self.archive.name, "file": self.serving.file, "folder": str(self.model)}
        self._shop.keeper.keep(number, {**about, "gpu": worker.gpu}, worker.descriptors)
        return worker

    async def resume(self, kept: Kept) -> LocalWorker:
        """Take back one that an earlier web process has left, or start another if it is lost.

        It may still answer what it was asked then, so what it says counts from its answer to a
        question of ours.
        """
        connection, lifeline, stdout, stderr = kept.descriptors
        worker = self._worker(kept.id, Lifeline(socket.socket(fileno=lifeline)), stdout, stderr)
        worker.gpu = kept.about["gpu"]
        sample = next(iter(self.archive.samples), None)
        request = self.archive.request_of(sample) if sample else Request(b"")
        probe = str(uuid.uuid4())
        question = batch_of([encode_request(request, probe)])
        begun = worker.begin(socket.socket(fileno=connection), question, after=probe)
        try:
            await asyncio.wait_for(begun, self.serving.response_timeout)
        except (ConnectionError, asyncio.TimeoutError) as error:
            if isinstance(error, asyncio.TimeoutError):
                worker.give_up()
            await self.lost(worker)
            return await self.start()
        return worker

    async def end(self, worker: LocalWorker) -> None:
        """End one."""
        await worker.end()
        self._shop.keeper.forget(worker.number)

    async def lost(self, worker: LocalWorker) -> None:
        """End what is left of one that was lost after it had loaded, and log how it ended."""
        await self.end(worker)
        # Other words than of one that does not load: deploying gives up at those.
        self._log(worker.number, f"Worker {worker.number} {worker.ending}")

    async def _process(self, number: int, address: Path) -> LocalWorker:
        try:
            process, stdout, stderr = await self._shop.forks.start(
                worker_arguments(address, torchserve=self._torchserve),
                self.model,
                worker_environment(self.model),
                light=not self._torchserve,
            )
        except OSError as error:
            raise self._not_loaded(_no_process(error)) from error
        return self._worker(number, process, stdout, stderr)

    def _worker(
        self, number: int, process: Lifeline | Child, stdout: int, stderr: int
    ) -> LocalWorker:
        outputs = [
            WorkerOutput(pipe, f"{self._thread(number)}-{name}", self._shop.log)
            for pipe, name in ((stdout, "stdout"), (stderr, "stderr"))
        ]
        return LocalWorker(number, process, outputs, self.serving.response_timeout)

    def _thread(self, number: int) -> str:
        return f"W-{number}-{self.archive.name}_{self.archive.manifest.model_version}"

    def _log(self, number: int, words: str) -> None:
        self._shop.log.write(f"{self._thread(number)}-stdout", [words])

    async def _load(self, worker: LocalWorker, address: Path) -> None:
        connection = await self._connected(worker, address)
        worker.gpu = gpu_of(self.archive.model_config, gpus_here(), worker.number)
        message = encode_load(
            self.archive.name,
            str(self.model),
            handler=self.archive.manifest.handler,
            batch_size=self.serving.batch_size,
            envelope=self._envelope,
            gpu=worker.gpu,
        )
        await worker.begin(connection, message)

    async def _connected(self, worker: LocalWorker, address: Path) -> socket.socket:
        """Connect to a worker that will listen. Raises ConnectionError if it has ended."""
        while not worker.process.ended.done():
            with suppress(OSError):
                return await connected(address)
            await asyncio.sleep(_PAUSE)
        raise ConnectionError("the worker has ended")

    async def _cause(self, worker: LocalWorker, error: Exception) -> Finding:
        if isinstance(error, asyncio.TimeoutError):
            return late("load", self._timeout, worker.first_lines)
        last: list[asyncio.Future[Any]] = [worker.process.ended]
        last += [output.ended for output in worker.outputs]
        await asyncio.wait(last, timeout=_LAST_WORDS)
        status = worker.process.ended
        return ended(End(status.result() if status.done() else None), worker.first_lines)

    def _not_loaded(self, cause: Finding) -> WorkerError:
        place = ": ".join(part for part in (cause.location, cause.message) if part)
        message = f"{self.archive.name}: its worker cannot load the model: {place}"
        return WorkerError(message, cause.hint, code="model-not-loaded")


def number_of(values: Mapping[str, Any], key: str, default: int) -> int:
    """Return a whole number above 0, of a model-config or of config.properties."""
    value = values.get(key)
    value = int(value) if isinstance(value, str) and value.isdecimal() else value
    return value if isinstance(value, int) and value > 0 else default


def _no_process(error: OSError) -> Finding:
    message = f"no process can be started: {error.strerror}"
    return Finding(message, "end other processes, or raise the limit of them: ulimit -u", rule="")
