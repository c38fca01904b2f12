"""The gateway's own way to ask a model: POST /models/NAME[/versions/VERSION]/predict."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from marsmith.core.errors import MarsmithError
from marsmith.gateway.backend import Answer, Backend
from marsmith.gateway.problems import problem
from marsmith.gateway.reading import read_call, request_id
from marsmith.gateway.refusals import handler_refused


def routes(backend: Backend) -> list[BaseRoute]:
    """Return the routes of this face."""

    async def predict(http: Request) -> Response:
        model, version = http.path_params["model"], http.path_params.get("version")
        try:
            answer = await backend.predict(await read_call(http, model, version))
        except MarsmithError as error:
            return problem(error, request_id(http))
        if not answer.response.ok:
            return problem(handler_refused(answer.response), request_id(http))
        return responded(answer, request_id(http))

    return [
        Route("/models/{model}/predict", predict, methods=["POST"]),
        Route("/models/{model}/versions/{version}/predict", predict, methods=["POST"]),
    ]


def responded(answer: Answer, request_id: str) -> Response:
    """Return a handler's answer, whole or as it comes."""
    said = answer.response
    headers = {name: value for name, value in said.headers.items() if name != "content-length"}
    headers["x-request-id"] = request_id
    if answer.rest is None:
        return Response(said.body, said.status, headers)
    return StreamingResponse(_parts(answer), said.status, headers)


async def _parts(answer: Answer) -> AsyncIterator[bytes]:
    yield answer.response.body
    if answer.rest is not None:
        async for part in answer.rest:
            yield part
