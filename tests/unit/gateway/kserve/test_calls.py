"""Several calls of one message."""

from __future__ import annotations

import asyncio

import pytest

from marsmith.answers.messages import Request, Response
from marsmith.gateway.backend import Call
from marsmith.gateway.kserve.calls import answer_all
from marsmith.gateway.refusals import GatewayError, queue_full
from tests.codes import coded
from tests.unit.gateway.kserve.asking import Answering, run

MESSAGE = Call(
    "m", Request(b"whole", "application/json", {"X-Own": "1", "Content-Length": "5"}), "id"
)


def requests(count: int) -> list[Request]:
    return [Request(str(index).encode()) for index in range(count)]


def test_calls_have_ids_of_their_own_and_the_headers_of_the_caller() -> None:
    backend = Answering()
    run(answer_all(backend, MESSAGE, requests(2)))
    run(answer_all(backend, MESSAGE, requests(1)))
    assert [call.id for call in backend.calls] == ["id-0", "id-1", "id"]
    assert backend.calls[0].request.headers.keys() == {"X-Own", "Accept"}


def test_answers_in_parts_are_joined() -> None:
    ((version, said),) = run(answer_all(Answering(rest=(b"b", b"c")), MESSAGE, requests(1)))
    assert (version, said.body) == ("1.0", b"0bc")


def test_a_bounded_number_is_asked_at_a_time() -> None:
    backend = Answering(delay=lambda _: 0.001)
    answers = run(answer_all(backend, MESSAGE, requests(100)))
    assert [said.body for _, said in answers] == [one.body for one in requests(100)]
    assert backend.most == 32


def test_after_a_failure_the_others_are_given_up() -> None:
    def answer(call: Call) -> Response:
        if call.request.body == b"1":
            raise queue_full("m", 100)
        return Response(200, "", {}, b"1")

    async def work() -> tuple[GatewayError, int]:
        backend = Answering(
            answer=answer, delay=lambda call: 0 if call.request.body == b"1" else 30
        )
        with pytest.raises(GatewayError, check=coded("queue-full")) as caught:
            await answer_all(backend, MESSAGE, requests(64))
        await asyncio.sleep(0)
        return caught.value, backend.open

    error, still_open = run(work())
    assert (error.status, error.retry_after, still_open) == (503, 1, 0)
    assert error.message.startswith("instance 1:")
