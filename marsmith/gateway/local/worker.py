"""One worker with its model: it answers a batch, and then the next."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol, cast

from marsmith.client.description import Worker
from marsmith.core.errors import MarsmithError
from marsmith.core.processes import resident_memory
from marsmith.gateway.local.forking import Child, Lifeline
from marsmith.gateway.local.waiting import Waiting
from marsmith.gateway.local.worker_log import WorkerOutput
from marsmith.gateway.refusals import GatewayError
from marsmith.torchserve.worker_protocol import Message, MessageReader, batch_of, goes_on
from marsmith.worker.lost import ending

_FAREWELL = 1.0  # seconds for a worker to end by itself
_PEER = struct.Struct("3i")  # SO_PEERCRED: pid, user, group


class Office(Protocol):
    """Who gives a worker its batches."""

    def free(self, worker: LocalWorker) -> None:
        """The worker can take a batch."""

    def failed(self, batch: Sequence[Waiting], message: Message) -> None:
        """The handler failed a batch as a whole."""

    def lost(
        self,
        worker: LocalWorker,
        batch: Sequence[Waiting],
        ahead: Sequence[Waiting],
        *,
        late: bool,
    ) -> None:
        """The worker ended, or let its time pass and is ended, with a batch and one not begun."""


class LocalWorker(asyncio.Protocol):
    """A worker's process, its streams, and the connection to it, in TorchServe's protocol."""

    def __init__(
        self,
        number: int,
        process: Lifeline | Child,
        outputs: Sequence[WorkerOutput],
        timeout: float,
    ) -> None:
        """`timeout` is of an answer, or of a part of it, in seconds."""
        self.number = number
        self.process = process
        self.outputs = outputs
        self.gpu: int | None = None
        self.idle_since = time.monotonic()
        self._started = time.time()
        self.retiring = False
        self.is_loaded = self.has_answered = False
        self._timeout = timeout
        self._office: Office | None = None
        self._socket: socket.socket | None = None
        self._transport: asyncio.Transport | None = None
        self._reader = MessageReader()
        self._batch: list[Waiting] = []
        self._ahead: list[Waiting] = []  # was sent, too: the worker takes it next
        self._loaded: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._late = False
        self._is_strange = False  # it broke the protocol
        self._lives_on = False  # without its connection, until it is killed

    @property
    def is_busy(self) -> bool:
        """Whether it has a batch."""
        return bool(self._batch)

    @property
    def takes_ahead(self) -> bool:
        """Whether it has a batch, and no further one."""
        return bool(self._batch) and not self._ahead

    @property
    def description(self) -> Worker:
        """What the management API says of it."""
        state = "UNLOADING" if self.retiring else "READY" if self._office else "LOADING"
        pid, memory = self._pid, resident_memory(self._pid)
        return Worker(str(self.number), state, pid, memory, self._started, self.gpu is not None)

    @property
    def _pid(self) -> int:
        if self._socket is None or self._socket.fileno() < 0:
            return -1
        peer = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        return int(_PEER.unpack(peer)[0])

    async def begin(self, connection: socket.socket, message: bytes, after: str = "") -> None:
        """Send the first message: a load, or a request with the id `after` if it is loaded.

        What it says before the answer to that one is skipped. Raises ConnectionError.
        """
        self._socket, self._reader = connection, MessageReader(after)
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: self, sock=connection)
        self._send(message)
        said = await self._loaded
        if said.code != 200:
            raise ConnectionError(f"the worker answered {said.code}")
        self.is_loaded = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Read messages; what is none ends the connection."""
        try:
            messages = self._reader.feed(data)
        except (ValueError, LookupError, struct.error):
            self._refuse()
            return
        for message in messages:
            self._heard(message)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        """The worker has ended, or we have hung up. It may still print why: end() kills it."""
        self._transport = None
        if not self._loaded.done():
            self._loaded.set_exception(ConnectionError("the worker has ended"))
            self._loaded.exception()  # whoever waits may have gone
        if self._office is not None:
            office, self._office = self._office, None
            ahead, self._ahead = self._ahead, []
            office.lost(self, self._finish(), ahead, late=self._late)

    def _send(self, message: bytes) -> None:
        if self._transport is not None:
            self._transport.write(message)

    def _hang_up(self) -> None:
        """Close the connection, whoever else has it: then the worker ends."""
        if self._transport is not None and self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._transport.abort()

    def serve(self, office: Office) -> None:
        """Take batches from now on."""
        self._office = office
        if self._transport is None:
            self.connection_lost(None)
        else:
            office.free(self)

    def answer(self, batch: list[Waiting]) -> None:
        """Send a batch; the office hears of its end. A second one is computed after the first."""
        if not batch:
            return  # all callers have gone
        if self._batch:
            self._ahead = batch
        else:
            self._compute(batch)
        self._send(batch_of([request.encoded for request in batch]))

    def _compute(self, batch: list[Waiting]) -> None:
        self._batch = batch
        now = time.monotonic()
        for request in batch:
            request.sent = now
        self._watch()

    def _heard(self, message: Message) -> None:
        if not self._loaded.done():
            if not any(map(goes_on, message.answers.values())):
                self._loaded.set_result(message)
        elif self._office is None or not self._batch:
            self._refuse()  # it speaks unasked
        elif message.code != 200:
            batch = self._finish()
            self._office.failed(batch, message)
            self._office.free(self)
        else:
            self._answered(self._office, message)

    def _answered(self, office: Office, message: Message) -> None:
        self.has_answered = True
        batch, more = self._batch, False
        for request in batch:
            part = message.answers.get(request.id)
            if part is None:
                request.fail(_strange())
            else:
                more |= request.take(part, len(batch))
        if more:
            self._watch()
        else:
            self._finish()
            office.free(self)

    def _watch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._timeout, self.give_up)

    def _refuse(self) -> None:
        self._is_strange = True
        self._hang_up()

    def give_up(self) -> None:
        """End it because it did not answer in time."""
        self._late = True
        self.process.kill()
        self._hang_up()

    def _finish(self) -> list[Waiting]:
        batch, self._batch = self._batch, []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.idle_since = time.monotonic()
        if self._ahead:
            ahead, self._ahead = self._ahead, []
            self._compute(ahead)
        return batch

    async def end(self) -> None:
        """End it; it must have no batch."""
        self._office = None
        self._hang_up()
        await asyncio.wait([self.process.ended], timeout=_FAREWELL)
        self._lives_on = not self.process.ended.done()
        self.process.kill()
        await asyncio.wait([self.process.ended], timeout=_FAREWELL)
        for output in self.outputs:
            output.close()

    @property
    def ending(self) -> str:
        """How it ended, for the log. Only after end()."""
        if self._late:
            return f"did not answer within {self._timeout:g} s, and was ended"
        if self._is_strange:
            return "broke the worker protocol, and was ended"
        if self._lives_on:
            return "closed its connection, and was ended"
        return f"ended {ending(self.process.ended.result())}"

    @property
    def descriptors(self) -> list[int]:
        """What must stay open for it to live on: its connections, and what it prints to."""
        ends = [output.pipe for output in self.outputs]
        connection = self._socket.fileno() if self._socket else -1
        return [connection, self.process.fileno(), *ends]

    @property
    def first_lines(self) -> str:
        """What it printed first, as a log: what ends a worker is printed to its standard output."""
        out, err = self.outputs
        return "\n".join([*err.first_lines, *out.first_lines])


def _strange() -> MarsmithError:
    return GatewayError(
        "the worker answered other requests than it was sent",
        "let the handler leave context.request_ids unchanged",
        code="worker-protocol",
        status=500,
    )
