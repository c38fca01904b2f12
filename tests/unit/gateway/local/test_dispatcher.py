"""Batches, and who pays for whom."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from marsmith.gateway.backend import Answer
from marsmith.gateway.refusals import GatewayError
from marsmith.programs.light_messages import InferenceRequest, answered, failed
from tests.unit.gateway.local.workers import Bench, EndedError, echo
from tests.unit.programs.test_light_messages import context


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 20))


def bodies(batch: list[InferenceRequest]) -> list[bytes]:
    return [bytes(one.values["body"]) for one in batch]


def refusing(batch: list[InferenceRequest]) -> bytes:
    """Fail each batch with a request `bad` as a whole, as a handler that raises."""
    ids = {index: one.id for index, one in enumerate(batch)}
    return failed(ids, "Prediction failed", 503) if b"bad" in bodies(batch) else echo(batch)


def dying(batch: list[InferenceRequest]) -> bytes:
    if b"bad" in bodies(batch):
        raise EndedError
    return echo(batch)


def hanging(batch: list[InferenceRequest]) -> bytes | None:
    return None if b"bad" in bodies(batch) else echo(batch)


async def told(answers: list[asyncio.Future[Answer]]) -> list[bytes | int | str]:
    """Return bodies of right answers, statuses of others, and codes of errors."""
    ended = await asyncio.gather(*answers, return_exceptions=True)
    found: list[bytes | int | str] = []
    for one in ended:
        if isinstance(one, GatewayError):
            found.append(one.code)
        elif isinstance(one, Answer):
            found.append(one.response.body if one.response.ok else one.response.status)
        else:
            raise AssertionError(one)
    return found


def test_requests_that_come_at_once_share_a_batch_up_to_its_size() -> None:
    async def test() -> None:
        async with Bench(echo, batch_size=3) as bench:
            answers = [bench.submit(b"%d" % number) for number in range(5)]
            assert await told(answers) == [b"0", b"1", b"2", b"3", b"4"]
            assert bench.batches == [[b"0", b"1", b"2"], [b"3", b"4"]]
            assert [one.result().batch for one in answers] == [3, 3, 3, 2, 2]

    run(test())


def test_a_lone_request_does_not_wait_for_others() -> None:
    async def test() -> None:
        async with Bench(echo, echo, delay=10.0) as bench:
            begun = time.monotonic()
            assert (await bench.submit(b"x")).response.body == b"x"
            assert time.monotonic() - begun < 5

    run(test())


def test_while_other_workers_are_busy_a_batch_waits_to_become_full() -> None:
    async def test() -> None:
        async with Bench(echo, echo, hanging, batch_size=2, delay=0.2) as bench:
            bad = bench.submit(b"bad")
            while not bench.batches:
                await asyncio.sleep(0.001)
            begun = time.monotonic()
            first = bench.submit(b"1")
            assert (await first).response.body == b"1"
            assert time.monotonic() - begun >= 0.19
            two = bench.submit(b"2"), bench.submit(b"3")
            await asyncio.gather(*two)
            assert bench.batches[1:] == [[b"1"], [b"2", b"3"]]
            bad.cancel()

    run(test())


def test_of_a_failed_batch_each_request_is_tried_again_alone() -> None:
    async def test() -> None:
        async with Bench(refusing) as bench:
            answers = [bench.submit(one) for one in (b"1", b"bad", b"2")]
            assert await told(answers) == [b"1", 503, b"2"]
            assert bench.batches == [[b"1", b"bad", b"2"], [b"1"], [b"bad"], [b"2"]]

    run(test())


def test_a_request_that_two_workers_died_of_is_not_sent_a_third_time() -> None:
    async def test() -> None:
        async with Bench(dying, dying, dying, delay=0.0) as bench:
            answers = [bench.submit(one) for one in (b"1", b"bad", b"2")]
            assert await told(answers) == [b"1", "worker-died", b"2"]
            assert sum(b"bad" in batch for batch in bench.batches) == 2
            assert len(bench.dispatcher.workers) == 1

    run(test())


def test_a_worker_that_lets_its_time_pass_is_killed_and_only_its_request_pays() -> None:
    async def test() -> None:
        async with Bench(hanging, hanging, echo, timeout=0.1) as bench:
            answers = [bench.submit(one) for one in (b"1", b"bad", b"2")]
            # Whichever worker has it alone: the last one is not of those that hang.
            assert (await told(answers))[::2] == [b"1", b"2"]

        async with Bench(hanging, timeout=0.1) as bench:
            assert await told([bench.submit(b"bad")]) == ["answer-late"]
            assert not bench.dispatcher.workers

    run(test())


def test_a_request_for_a_description_shares_no_batch() -> None:
    async def test() -> None:
        async with Bench(echo) as bench:
            answers = [bench.submit(b"1"), bench.submit(b"2", {"describe": "True"})]
            assert await told(answers) == [b"1", b"2"]
            assert sorted(bench.batches) == [[b"1"], [b"2"]]

    run(test())


def test_more_than_the_queue_takes_are_refused_at_once() -> None:
    async def test() -> None:
        async with Bench(limit=2) as bench:
            waiting = [bench.submit(b"1"), bench.submit(b"2")]
            with pytest.raises(GatewayError) as refused:
                bench.submit(b"3")
            assert (refused.value.code, refused.value.retry_after) == ("queue-full", 1)
            await bench.add(echo)
            assert await told(waiting) == [b"1", b"2"]

    run(test())


def test_where_more_workers_may_come_a_request_waits_in_the_queue_for_them() -> None:
    async def test() -> None:
        async with Bench(hanging, batch_size=1) as bench:
            bad = bench.submit(b"bad")
            assert bench.dispatcher.queue.age == 0.0
            good = bench.submit(b"good")
            await asyncio.sleep(0.05)
            assert 0.04 < bench.dispatcher.queue.age < 5
            await bench.add(echo)
            assert await told([good]) == [b"good"]
            assert bench.dispatcher.queue.age == 0.0
            bad.cancel()

    run(test())


def test_it_is_known_how_a_worker_was_lost() -> None:
    def strange(_: list[InferenceRequest]) -> bytes:
        return b"\xff" * 64

    async def test() -> None:
        for act, word in ((hanging, "0.1 s"), (dying, "status 3"), (strange, "protocol")):
            async with Bench(act, timeout=0.1) as bench:
                (worker,) = bench.dispatcher.workers
                bench.submit(b"bad").cancel()
                bench.submit(b"bad").add_done_callback(lambda one: one.exception())
                while bench.dispatcher.workers:
                    await asyncio.sleep(0.001)
                await worker.end()
                assert word in worker.ending

    run(test())


def test_a_request_whose_caller_has_gone_is_not_sent() -> None:
    async def test() -> None:
        async with Bench() as bench:
            gone, stays = bench.submit(b"gone"), bench.submit(b"stays")
            gone.cancel()
            await bench.add(echo)
            await stays
            assert bench.batches == [[b"stays"]]

    run(test())


def test_parts_are_passed_on_as_they_come() -> None:
    def in_parts(batch: list[InferenceRequest]) -> bytes:
        ids, about = {0: batch[0].id}, context(1)
        about.set_response_header(0, "ts_stream_next", "true")
        first = answered([b"a"], ids, about).replace(b"false", b"true")
        first = first.replace(b"\0\0\0\5true", b"\0\0\0\4true")
        return first + answered([b"b"], ids, about)

    async def test() -> None:
        async with Bench(in_parts) as bench:
            answer = await bench.submit(b"x")
            assert answer.response.body == b"a"
            assert answer.rest is not None
            assert [part async for part in answer.rest] == [b"b"]

    run(test())


def test_a_retired_worker_ends_after_its_batch() -> None:
    async def test() -> None:
        async with Bench(echo) as bench:
            idle: list[int] = []
            bench.dispatcher.on_idle = lambda worker: idle.append(worker.number)
            (worker,) = bench.dispatcher.workers
            answer = bench.submit(b"1")
            await asyncio.sleep(0)  # it is sent
            bench.dispatcher.retire(worker)
            assert idle == []
            assert (await answer).response.body == b"1"
            assert idle == [9000]
            assert not bench.dispatcher.workers

    run(test())


def test_the_only_worker_has_a_full_batch_ahead_which_its_death_costs_nothing() -> None:
    async def test() -> None:
        async with Bench(dying, batch_size=2) as bench:
            bench.dispatcher.sends_ahead = True
            answers = [bench.submit(one) for one in (b"1", b"bad", b"2", b"3", b"4")]
            await asyncio.sleep(0)
            assert len(bench.dispatcher.queue) == 1  # the batch ahead is with the worker
            while bench.dispatcher.workers:
                await asyncio.sleep(0.001)
            assert len(bench.dispatcher.queue) == 5
            await bench.add(dying)
            while bench.dispatcher.workers:
                await asyncio.sleep(0.001)
            await bench.add(echo)
            assert await told(answers) == [b"1", "worker-died", b"2", b"3", b"4"]
            assert bench.batches == [[b"1", b"bad"], [b"1"], [b"bad"], [b"2", b"3"], [b"4"]]

    run(test())
