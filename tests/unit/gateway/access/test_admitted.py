"""The back end behind the gate, where no request is known."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from marsmith.answers.messages import Request
from marsmith.gateway.access.admitted import admitted
from marsmith.gateway.backend import Backend, Call, Registration
from marsmith.gateway.observe.facts import CURRENT, Facts, trace_of
from marsmith.gateway.observe.metrics import Metrics
from marsmith.gateway.refusals import GatewayError
from tests.codes import coded
from tests.unit.gateway.door import EchoBackend

ASK: list[Callable[[Backend], Awaitable[Any]]] = [
    lambda it: it.predict(Call("echo", Request(b"x"), "1")),
    lambda it: it.models(),
    lambda it: it.describe("echo"),
    lambda it: it.register(Registration("a.mar")),
    lambda it: it.unregister("echo"),
    lambda it: it.scale("echo", None, 1, 1, wait=False),
    lambda it: it.set_default("echo", "1.0"),
]


@pytest.mark.parametrize("ask", ASK)
def test_where_keys_are_needed_what_has_no_request_may_do_nothing(
    ask: Callable[[Backend], Awaitable[Any]],
) -> None:
    """A face that runs in a task of its own is closed, not open."""
    behind = EchoBackend()

    async def run() -> None:
        with pytest.raises(GatewayError, check=coded("key-missing")):
            await ask(admitted(behind, Metrics(), needs_keys=True))
        await ask(admitted(behind, Metrics(), needs_keys=False))

    asyncio.run(run())


def test_what_is_not_awaited_is_closed_too() -> None:
    front = admitted(EchoBackend(), Metrics(), needs_keys=True)
    with pytest.raises(GatewayError, check=coded("key-missing")):
        front.events()
    with pytest.raises(GatewayError, check=coded("key-missing")):
        front.archive("echo")
    assert (front.name, front.model_api) == ("echo", True)


def test_a_change_is_finished_though_its_caller_goes_away() -> None:
    class Slow(EchoBackend):
        async def unregister(self, model: str, version: str | None = None) -> None:
            await asyncio.sleep(0.1)
            await super().unregister(model, version)

    behind = Slow()

    async def run() -> None:
        CURRENT.set(Facts("DELETE", "/", "other", {}, trace_of("")))
        task = asyncio.create_task(admitted(behind, Metrics(), needs_keys=False).unregister("echo"))
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.sleep(0.2)

    asyncio.run(run())
    assert behind.done == ["unregister echo None"]
