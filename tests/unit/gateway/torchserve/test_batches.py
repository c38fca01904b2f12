"""marsmith/gateway/torchserve/batches.py: a request that is alone, and those that wait for it."""

from __future__ import annotations

import asyncio

from marsmith.gateway.torchserve.batches import Batches


def test_one_that_is_alone_waits_for_the_others_and_they_for_it() -> None:
    async def run() -> list[str]:
        batches, told = Batches(), list[str]()

        async def with_others(name: str, released: asyncio.Event) -> None:
            await batches.enter("digits")
            await released.wait()
            told.append(name)
            batches.leave("digits")

        async def alone(released: asyncio.Event) -> None:
            async with batches.alone("digits"):
                await released.wait()
                told.append("alone")

        first, own, others = asyncio.Event(), asyncio.Event(), asyncio.Event()
        others.set()
        own.set()
        tasks = [asyncio.ensure_future(with_others("before", first))]
        await asyncio.sleep(0)
        tasks.append(asyncio.ensure_future(alone(own)))
        await asyncio.sleep(0)
        tasks.append(asyncio.ensure_future(with_others("after", others)))
        await asyncio.sleep(0.01)
        assert told == []
        first.set()
        await asyncio.gather(*tasks)
        return told

    assert asyncio.run(run()) == ["before", "alone", "after"]


def test_one_model_does_not_wait_for_another() -> None:
    async def run() -> bool:
        batches = Batches()
        await batches.enter("cartoon")
        async with batches.alone("digits"):
            entering = asyncio.ensure_future(batches.enter("cartoon"))
            done, _ = await asyncio.wait([entering], timeout=1)
            return entering in done

    assert asyncio.run(run())
