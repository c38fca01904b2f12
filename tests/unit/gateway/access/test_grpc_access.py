"""gRPC calls pass the same gate: over a real server, with the kit's own messages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from marsmith.client.grpc_wire import SERVICES
from marsmith.gateway.access.gate import Gate
from marsmith.gateway.access.grpc_access import GrpcAccess, _host
from marsmith.gateway.access.guards import Guards
from marsmith.gateway.access.key_store import KeyRing, KeyStore
from marsmith.gateway.access.keys import Limits, new_key, parse_scope
from marsmith.gateway.access.rules import AccessRules
from marsmith.gateway.observe.access_log import AccessLog
from marsmith.gateway.observe.observe import Observer
from marsmith.gateway.torchserve_api.grpc_services import add_services
from tests.unit.gateway.door import EchoBackend
from tests.unit.gateway.grpc_calls import calling

CODE = grpc.StatusCode


def key(store: KeyStore, scope: str, limits: Limits | None = None) -> str:
    made, token = new_key(
        scope.replace(":", "-"), [parse_scope(scope)], time.time(), None, limits or Limits()
    )
    store.add(made)
    return token


class Asked:
    """Asks one server."""

    def __init__(self, channel: Any, backend: EchoBackend, guards: Guards) -> None:
        self._channel = channel
        self.backend = backend
        self.guards = guards

    async def __call__(self, method: str, *headers: tuple[str, str], **fields: Any) -> Any:
        """Return the status of a call."""
        api = "management" if method in ("ScaleWorker", "ListModels") else "inference"
        service = SERVICES[api]  # type: ignore[index]
        call = calling(self._channel, service, method, headers, **fields)
        try:
            if service.methods_by_name[method].server_streaming:
                _ = [part async for part in call]
            else:
                await call
        except grpc.aio.AioRpcError as error:
            return error.code()
        return CODE.OK

    async def corrupt(self, method: str) -> Any:
        """Return the status of a call whose message is none."""
        service = SERVICES["inference"]
        call = self._channel.unary_unary(f"/{service.full_name}/{method}")
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call(b"\xff\xff", timeout=5)
        return raised.value.code()


@asynccontextmanager
async def serving(store: KeyStore, log: Path, *, needs_keys: bool = True) -> AsyncIterator[Asked]:
    gate = Gate(AccessRules(needs_keys=needs_keys), KeyRing(store))
    guards, backend = Guards(gate, Observer(AccessLog(log))), EchoBackend()
    server = grpc.aio.server(interceptors=[GrpcAccess(guards)])
    add_services(server, guards.admitted(backend))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Asked(channel, backend, guards)
    finally:
        await server.stop(0)
        guards.observer.close()


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "keys.json")


ECHO: dict[str, Any] = {"model_name": "echo", "input": {"data": b"x"}}


def test_keys_in_metadata(store: KeyStore, tmp_path: Path) -> None:
    token, limited = key(store, "predict:echo"), key(store, "manage", Limits(rate=0.01))

    async def ask() -> list[Any]:
        async with serving(store, tmp_path / "log") as asked:
            bearer = ("authorization", f"Bearer {token}")
            said = [
                await asked("Predictions", **ECHO),
                await asked("Predictions", ("x-api-key", "wrong"), **ECHO),
                await asked("Predictions", bearer, **ECHO),
                await asked("StreamPredictions", bearer, **ECHO),
                await asked("Predictions", ("x-api-key", token), **ECHO),
                await asked("Predictions", bearer, **ECHO | {"model_name": "other"}),
                await asked("ScaleWorker", bearer, model_name="echo", min_worker=1),
                await asked("ScaleWorker", ("x-api-key", limited), model_name="echo", min_worker=1),
                await asked("ListModels", ("x-api-key", limited)),
            ]
            assert len(asked.backend.calls) == 3
            assert len(asked.backend.done) == 1
            text = asked.guards.observer.metrics.text(()).decode()
        assert 'face="torchserve",model="echo",status="200",version="1.0"} 3.0' in text
        return said

    assert asyncio.run(ask()) == [
        CODE.UNAUTHENTICATED,
        CODE.UNAUTHENTICATED,
        CODE.OK,
        CODE.OK,
        CODE.OK,
        CODE.PERMISSION_DENIED,
        CODE.PERMISSION_DENIED,
        CODE.OK,
        CODE.RESOURCE_EXHAUSTED,
    ]
    written = (tmp_path / "log").read_text()
    assert written.count("\n") == 9
    assert token not in written


def test_this_machine_may_ask_for_health_alone(store: KeyStore, tmp_path: Path) -> None:
    async def ask() -> list[Any]:
        async with serving(store, tmp_path / "log") as asked:
            return [await asked("Ping"), await asked("ListModels")]

    assert asyncio.run(ask()) == [CODE.OK, CODE.UNAUTHENTICATED]


def test_a_message_that_cannot_be_read_is_the_callers_fault(
    store: KeyStore, tmp_path: Path
) -> None:
    async def ask() -> Any:
        async with serving(store, tmp_path / "log", needs_keys=False) as asked:
            return await asked.corrupt("Predictions")

    assert asyncio.run(ask()) == CODE.INVALID_ARGUMENT
    assert '"status": 400' in (tmp_path / "log").read_text()


def test_without_keys_this_machine_may_ask_all(store: KeyStore, tmp_path: Path) -> None:
    async def ask() -> list[Any]:
        async with serving(store, tmp_path / "log", needs_keys=False) as asked:
            trace = ("traceparent", f"00-{'a' * 32}-{'b' * 16}-01")
            said = [await asked("Predictions", trace, **ECHO), await asked("ListModels")]
            _, trace_id, span, _ = asked.backend.calls[0].request.headers["Traceparent"].split("-")
            assert (trace_id, span == "b" * 16) == ("a" * 32, False)
            return said

    assert asyncio.run(ask()) == [CODE.OK, CODE.OK]


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("ipv4:127.0.0.1:5000", "127.0.0.1"),
        ("ipv6:%5B::1%5D:5000", "::1"),
        ("ipv6:[::ffff:10.0.0.1]:5000", "::ffff:10.0.0.1"),
        ("unix:/tmp/socket", ""),
        ("", ""),
    ],
)
def test_the_address_of_a_peer(peer: str, host: str) -> None:
    assert _host(peer) == host
