"""marsmith/client/async_transport.py, against real sockets."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from marsmith.client.async_transport import Arriving, AsyncTransport, Exchange
from marsmith.client.http1 import LostError, NotConnectedError, NotHttpError, place_of, request_head
from tests.unit.client.test_faults import answer_well, hang_up_within_the_answer, receive, speaking

pytestmark = pytest.mark.processes

_Result = TypeVar("_Result")


async def send(transport: AsyncTransport, exchange: Exchange | None = None) -> Arriving:
    head = request_head("POST", transport.place, "/", {}, 1)
    return await transport.send(head, b"x", exchange or Exchange())


def run(url: str, work: Any) -> Any:
    """Do something with a transport."""

    async def whole() -> Any:
        transport = AsyncTransport(place_of(url), ssl.create_default_context())
        try:
            return await work(transport)
        finally:
            transport.close()
            await asyncio.sleep(0)

    coroutine: Coroutine[Any, Any, Any] = whole()
    return asyncio.run(coroutine)


def test_a_connection_is_used_again_and_a_stale_one_is_not() -> None:
    def answer_twice(connection: socket.socket) -> None:
        for _ in range(2):
            receive(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n7")

    async def work(transport: AsyncTransport) -> list[bytes]:
        bodies = [(await send(transport)).response.body for _ in range(2)]
        await asyncio.sleep(0.1)  # for the server's last packet, which says that it hangs up
        return [*bodies, (await send(transport)).response.body]

    with speaking(answer_twice, answer_well) as url:
        assert run(url, work) == [b"7"] * 3


def test_an_answer_in_parts_is_passed_on_as_it_comes() -> None:
    begun = time.monotonic()

    def drip(connection: socket.socket) -> None:
        receive(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n")
        time.sleep(0.3)
        connection.sendall(b"1\r\nb\r\n")
        time.sleep(0.1)
        connection.sendall(b"1\r\nc\r\n0\r\n\r\n")

    async def work(transport: AsyncTransport) -> list[bytes]:
        arrived = await send(transport)
        assert time.monotonic() - begun < 0.3
        assert arrived.rest is not None
        return [arrived.response.body, *[part async for part in arrived.rest]]

    with speaking(drip) as url:
        assert run(url, work) == [b"a", b"b", b"c"]


def test_a_reader_that_is_slow_holds_the_server_back() -> None:
    size = 1 << 26
    sent = 0

    def flood(connection: socket.socket) -> None:
        nonlocal sent
        receive(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        for _ in range(size // 0x10000):
            connection.sendall(piece)
            sent += 0x10000
        connection.sendall(b"0\r\n\r\n")

    async def work(transport: AsyncTransport) -> tuple[int, int]:
        arrived = await send(transport)
        assert arrived.rest is not None
        await asyncio.sleep(0.3)
        ahead = sent
        whole = len(arrived.response.body) + sum([len(part) async for part in arrived.rest])
        return ahead, whole

    with speaking(flood) as url:
        ahead, whole = run(url, work)
    assert ahead < size / 2
    assert whole == size


def test_an_answer_in_parts_that_breaks_off_is_lost() -> None:
    def part(connection: socket.socket) -> None:
        receive(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n")

    async def work(transport: AsyncTransport) -> None:
        arrived = await send(transport)
        assert arrived.rest is not None
        with pytest.raises(LostError):
            [part async for part in arrived.rest]

    with speaking(part) as url:
        run(url, work)


def test_an_answer_that_breaks_off_is_lost() -> None:
    with speaking(hang_up_within_the_answer) as url, pytest.raises(LostError):
        run(url, send)


def test_a_server_that_speaks_no_http() -> None:
    def talk(connection: socket.socket) -> None:
        receive(connection)
        connection.sendall(b"SSH-2.0-OpenSSH\r\n")

    with speaking(talk) as url, pytest.raises(NotHttpError):
        run(url, send)


def test_nothing_at_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(NotConnectedError):
        run(url, send)


def test_who_waits_can_be_told_to_stop() -> None:
    def hang(connection: socket.socket) -> None:
        receive(connection)
        assert connection.recv(1) == b""  # the caller closes it

    async def work(transport: AsyncTransport) -> None:
        exchange = Exchange()
        asyncio.get_running_loop().call_later(0.05, exchange.fail, ValueError("late"))
        with pytest.raises(ValueError, match="late"):
            await send(transport, exchange)

    with speaking(hang) as url:
        run(url, work)
