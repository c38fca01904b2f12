"""The calls that one message asks for: answered in order, and a bounded number at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from marsmith.answers.messages import Request, Response
from marsmith.core.errors import MarsmithError
from marsmith.gateway.backend import Backend, Call
from marsmith.gateway.refusals import GatewayError, as_refusal, handler_refused, malformed

MOST = 1024  # requests of one message
_AT_ONCE = 32  # a third of what TorchServe's queue takes by default: others want a place too
# They describe the message, not the requests that it is turned into.
_OF_MESSAGE = "accept accept-encoding content-length content-encoding content-type"
_LEFT_OUT = frozenset([*_OF_MESSAGE.split(), "inference-header-content-length"])
# JSON can hold the answer to any request of a message; a handler without JSON may answer as it can.
_ACCEPT = "application/json, */*;q=0.5"


async def answer_all(
    backend: Backend, message: Call, requests: Sequence[Request]
) -> list[tuple[str, Response]]:
    """Return for each request the version that answered, and its whole answer.

    The requests get the message's headers. Raises GatewayError for the first that fails, named by
    its index; the others are given up.
    """
    if not 0 < len(requests) <= MOST:
        hint = f"send 1 to {MOST} instances in a request"
        raise malformed(f"the request holds {len(requests)} instances", hint)
    given = message.request.headers.items()
    headers = {name: value for name, value in given if name.lower() not in _LEFT_OUT}
    headers["Accept"] = _ACCEPT
    calls = [
        replace(
            message,
            request=Request(request.body, request.content_type, headers),
            id=f"{message.id}-{index}" if len(requests) > 1 else message.id,
            told={},
        )
        for index, request in enumerate(requests)
    ]
    if len(calls) == 1:
        return [await _answer(backend, calls[0])]
    return await _together(backend, calls)


async def _together(backend: Backend, calls: Sequence[Call]) -> list[tuple[str, Response]]:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(index: int, call: Call) -> tuple[str, Response]:
        async with gate:
            try:
                return await _answer(backend, call)
            except MarsmithError as error:
                failed = as_refusal(error)
                raise GatewayError(
                    f"instance {index}: {error.message}",
                    error.hint,
                    code=error.code,
                    status=failed.status,
                    retry_after=failed.retry_after,
                ) from error

    tasks = [asyncio.create_task(one(index, call)) for index, call in enumerate(calls)]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def _answer(backend: Backend, call: Call) -> tuple[str, Response]:
    answer = await backend.predict(call)
    said = await answer.whole()
    if not said.ok:
        raise handler_refused(said)
    return answer.version, said
