"""Workers in this process: the real objects over a real socket, and what a test wants answered."""

from __future__ import annotations

import asyncio
import io
import socket
from collections.abc import Callable

from marsmith.answers.messages import Request
from marsmith.gateway.backend import Answer, Call
from marsmith.gateway.local.dispatcher import Dispatcher
from marsmith.gateway.local.waiting import RequestQueue, Waiting
from marsmith.gateway.local.worker import LocalWorker
from marsmith.programs.light_messages import LOAD, InferenceRequest, answered, loaded, read_batch
from marsmith.torchserve.worker_protocol import encode_load, encode_request
from tests.unit.programs.test_light_messages import context

Act = Callable[[list[InferenceRequest]], "bytes | None"]  # None: no answer


class EndedError(Exception):
    """The worker dies."""


class StandIn:
    """In a process's place."""

    def __init__(self, peer: asyncio.StreamWriter) -> None:
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.peer = peer

    def fileno(self) -> int:
        return -1

    def end(self, status: int) -> None:
        if not self.ended.done():
            self.ended.set_result(status)
            self.peer.close()

    def kill(self) -> None:
        self.end(-9)


def echo(batch: list[InferenceRequest]) -> bytes:
    """Answer each request by its body."""
    ids = {index: one.id for index, one in enumerate(batch)}
    return answered([bytes(one.values["body"]) for one in batch], ids, context(len(batch)))


class Bench:
    """A dispatcher with workers that act as a test says; `batches` are the bodies that they got."""

    def __init__(
        self,
        *acts: Act,
        batch_size: int = 4,
        delay: float = 0.0,
        timeout: float = 5.0,
        limit: int = 100,
    ) -> None:
        self.batches: list[list[bytes]] = []
        self._acts = acts
        self.dispatcher = Dispatcher(
            "echo",
            "1.0",
            RequestQueue("echo", limit),
            batch_size=batch_size,
            delay=delay,
            timeout=timeout,
        )
        self._timeout = timeout
        self._tasks: list[asyncio.Task[None]] = []
        self._workers: list[LocalWorker] = []
        self.dispatcher.on_lost = lambda _: None

    async def __aenter__(self) -> Bench:
        for act in self._acts:
            await self.add(act)
        return self

    async def __aexit__(self, *_: object) -> None:
        for worker in self._workers:
            await worker.end()
        await asyncio.gather(*self._tasks)

    async def add(self, act: Act) -> LocalWorker:
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=theirs)
        ours.setblocking(False)
        process = StandIn(writer)
        worker = LocalWorker(9000, process, [], self._timeout)  # type: ignore[arg-type]
        self._workers.append(worker)
        self._tasks.append(asyncio.ensure_future(self._run(reader, process, act)))
        await worker.begin(ours, encode_load("echo", "/", handler="h"))
        self.dispatcher.add(worker)
        return worker

    async def _run(self, reader: asyncio.StreamReader, process: StandIn, act: Act) -> None:
        writer = process.peer
        while data := await reader.read(1 << 16):
            message = io.BytesIO(data)  # small messages of tests come whole
            try:
                while kind := message.read(1):
                    answer = loaded(200, "loaded") if kind == LOAD else self._answer(message, act)
                    writer.write(answer or b"")
                    message = message if kind != LOAD else io.BytesIO()
            except EndedError:
                process.end(3)
                break
        process.end(0)
        await writer.wait_closed()

    def _answer(self, message: io.BytesIO, act: Act) -> bytes | None:
        batch = read_batch(message.read)
        self.batches.append([bytes(one.values["body"]) for one in batch])
        return act(batch)

    def submit(self, body: bytes, headers: dict[str, str] | None = None) -> asyncio.Future[Answer]:
        request = Request(body, "", headers or {})
        call = Call("echo", request, f"id-{body.decode()}")
        waiting = Waiting(call, "1.0", encode_request(request, call.id))
        self.dispatcher.submit(waiting)
        return waiting.answer
