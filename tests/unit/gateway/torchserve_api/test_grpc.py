"""The services over a real grpc.aio server, called by a plain channel and by the kit's client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import grpc

from marsmith.client.protos import inference_pb2
from marsmith.gateway.torchserve_api.grpc import add_services
from tests.unit.gateway.backends import Models

PREDICTIONS = inference_pb2.PredictionsRequest


@contextmanager
def serving(
    backend: Models, add: Callable[[Any, Models], None] = add_services
) -> Iterator[grpc.Channel]:
    """Serve the back end from a thread; yield a channel, whose address is channel.address."""
    ports: list[int] = []
    ready, stop = Event(), asyncio.Event()

    async def serve() -> None:
        server = grpc.aio.server()
        add(server, backend)
        ports.append(server.add_insecure_port("127.0.0.1:0"))
        await server.start()
        loops.append(asyncio.get_running_loop())
        ready.set()
        await stop.wait()
        await server.stop(0)

    loops: list[asyncio.AbstractEventLoop] = []
    thread = Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    ready.wait()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{ports[0]}") as channel:
            channel.address = f"127.0.0.1:{ports[0]}"
            yield channel
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join()
