"""Starts workers of a version: a process, the connection to it, and its model in it."""

from __future__ import annotations

import asyncio
import socket
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from marsmith.answers.messages import Request
from marsmith.archive.reader import Archive
from marsmith.core.errors import WorkerError
from marsmith.core.findings import Finding
from marsmith.gateway.keeping import KeeperClient, Kept
from marsmith.gateway.local.forking import Child, ForkServers, Lifeline, Streams
from marsmith.gateway.local.worker import LocalWorker
from marsmith.gateway.local.worker_log import WorkerOutput, WorkersLog
from marsmith.torchserve.devices import gpu_of, gpus_here
from marsmith.torchserve.worker_protocol import batch_of, encode_load, encode_request
from marsmith.worker.command import worker_arguments, worker_environment
from marsmith.worker.lost import ended, late
from marsmith.worker.sandbox import End

_PAUSE = 0.005  # seconds between two looks for the worker's socket
_LAST_WORDS = 1.0  # seconds for what a worker prints at its end


@dataclass(frozen=True)
class Starter:
    """What the workers of a version are started with. Timeouts are in seconds."""

    archive: Archive
    model: Path  # where the archive is unpacked, FOLDER/models/…
    torchserve: bool  # whether TorchServe's worker runs it, or the light one
    batch_size: int
    envelope: str
    startup_timeout: float
    response_timeout: float
    forks: ForkServers
    log: WorkersLog
    keeper: KeeperClient
    numbers: Iterator[int]  # ids of workers
    file: str  # of the archive in the store

    async def start(self) -> LocalWorker:
        """Start one. Raises WorkerError with the true cause if it cannot load its model."""
        number = next(self.numbers)
        address = self.model.parents[1] / f".ts.sock.{number}"
        worker = await self._process(number, address)
        try:
            await asyncio.wait_for(self._load(worker, address), self.startup_timeout)
        except (ConnectionError, asyncio.TimeoutError) as error:
            raise self._not_loaded(await self._cause(worker, error)) from None
        finally:
            address.unlink(missing_ok=True)
            if not worker.is_loaded:
                await worker.end()
        about = {"model": self.archive.name, "file": self.file, "folder": str(self.model)}
        self.keeper.keep(number, {**about, "gpu": worker.gpu}, worker.descriptors)
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
            await asyncio.wait_for(begun, self.response_timeout)
        except (ConnectionError, asyncio.TimeoutError):
            await self.end(worker)
            return await self.start()
        return worker

    async def end(self, worker: LocalWorker) -> None:
        """End one."""
        await worker.end()
        self.keeper.forget(worker.number)

    async def _process(self, number: int, address: Path) -> LocalWorker:
        streams = Streams.make()
        process: Lifeline | Child
        try:
            process = await self.forks.start(
                worker_arguments(address, torchserve=self.torchserve),
                self.model,
                worker_environment(self.model),
                streams,
                light=not self.torchserve,
            )
        except BaseException as error:
            streams.close()
            if isinstance(error, OSError):
                raise self._not_loaded(_no_process(error)) from error
            raise
        streams.close_given()
        return self._worker(number, process, streams.stdout, streams.stderr)

    def _worker(
        self, number: int, process: Lifeline | Child, stdout: int, stderr: int
    ) -> LocalWorker:
        thread = f"W-{number}-{self.archive.name}_{self.archive.manifest.model_version}"
        outputs = [
            WorkerOutput(pipe, f"{thread}-{name}", self.log)
            for pipe, name in ((stdout, "stdout"), (stderr, "stderr"))
        ]
        return LocalWorker(number, process, outputs, self.response_timeout)

    async def _load(self, worker: LocalWorker, address: Path) -> None:
        connection = await _connected(address, worker.process.ended)
        worker.gpu = gpu_of(self.archive.model_config, gpus_here(), worker.number)
        message = encode_load(
            self.archive.name,
            str(self.model),
            handler=self.archive.manifest.handler,
            batch_size=self.batch_size,
            envelope=self.envelope,
            gpu=worker.gpu,
        )
        await worker.begin(connection, message)

    async def _cause(self, worker: LocalWorker, error: Exception) -> Finding:
        if isinstance(error, asyncio.TimeoutError):
            return late("load", self.startup_timeout, worker.first_lines)
        last = [worker.process.ended, *(output.ended for output in worker.outputs)]
        await asyncio.wait(last, timeout=_LAST_WORDS)
        status = worker.process.ended
        return ended(End(status.result() if status.done() else None), worker.first_lines)

    def _not_loaded(self, cause: Finding) -> WorkerError:
        place = ": ".join(part for part in (cause.location, cause.message) if part)
        message = f"{self.archive.name}: its worker cannot load the model: {place}"
        return WorkerError(message, cause.hint, code="model-not-loaded")


async def _connected(address: Path, ended: asyncio.Future[int]) -> socket.socket:
    """Connect to a worker that will listen. Raises ConnectionError if it has ended."""
    connection = socket.socket(socket.AF_UNIX)
    connection.setblocking(False)
    try:
        while True:
            try:
                await asyncio.get_running_loop().sock_connect(connection, str(address))
                return connection
            except OSError:
                if ended.done():
                    raise ConnectionError("the worker has ended") from None
                await asyncio.sleep(_PAUSE)
    except BaseException:
        connection.close()
        raise


def _no_process(error: OSError) -> Finding:
    message = f"no process can be started: {error.strerror}"
    return Finding(message, "end other processes, or raise the limit of them: ulimit -u", rule="")
