"""Several calls that one message asks for: answered in order, and a bounded number at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace

from marsmith.answers.messages import Request, Response
from marsmith.core.errors import MarsmithError
from marsmith.gateway.backend import Answer, Backend, Call
from marsmith.gateway.refusals import GatewayError, handler_refused, malformed

MOST = 1024  # requests of one message
_AT_ONCE = 32  # a third of what TorchServe's queue takes by default: others want a place too
# They describe the message, not the request that it is turned into.
_OF_MESSAGE = {
    "Accept",
    "Accept-Encoding",
    "Content-Length",
    "Content-Type",
    "Inference-Header-Content-Length",
}
# JSON can hold any answer of a handler, and a handler that has no JSON may answer as it likes.
_ACCEPT = "application/json, */*;q=0.5"


def calls_of(message: Call, requests: Sequence[Request]) -> list[Call]:
    """Return a call for each request of a message, with the headers that came with the message."""
    if not requests:
        raise malformed("the request holds nothing to answer", "send at least one instance")
    if len(requests) > MOST:
        raise GatewayError(
            f"the request holds {len(requests)} instances, more than {MOST}",
            "send them in several requests",
            code="too-many-instances",
            status=413,
        )
    given = message.request.headers.items()
    headers = {name: value for name, value in given if name not in _OF_MESSAGE}
    headers["Accept"] = _ACCEPT
    return [
        replace(
            message,
            request=replace(request, headers=headers),
            id=f"{message.id}-{index}" if index else message.id,
        )
        for index, request in enumerate(requests)
    ]


async def answer_all(backend: Backend, calls: Sequence[Call]) -> list[Answer]:
    """Return the whole answer to each call. Raises GatewayError for the first that fails.

    Then the other calls are given up. The error names the call by its index.
    """
    if len(calls) == 1:
        return [await _answer(backend, calls[0])]
    found: dict[int, Answer] = {}
    left = iter(enumerate(calls))
    tasks = [
        asyncio.create_task(_some(backend, left, found)) for _ in range(min(_AT_ONCE, len(calls)))
    ]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [found[index] for index in range(len(calls))]


async def _some(
    backend: Backend, left: Iterator[tuple[int, Call]], found: dict[int, Answer]
) -> None:
    for index, call in left:
        try:
            found[index] = await _answer(backend, call)
        except MarsmithError as error:
            raise _named(index, error) from error


async def _answer(backend: Backend, call: Call) -> Answer:
    answer = await backend.predict(call)
    if answer.rest is not None:
        parts = [answer.response.body] + [part async for part in answer.rest]
        whole: Response = replace(answer.response, body=b"".join(parts))
        answer = replace(answer, response=whole, rest=None)
    if not answer.response.ok:
        raise handler_refused(answer.response)
    return answer


def _named(index: int, error: MarsmithError) -> GatewayError:
    own = error if isinstance(error, GatewayError) else None
    return GatewayError(
        f"instance {index}: {error.message}",
        error.hint,
        code=error.code,
        status=own.status if own else 500,
        retry_after=own.retry_after if own else None,
    )
