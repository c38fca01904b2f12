"""The gateway's own way to ask a model: POST /models/NAME[/versions/VERSION]/predict."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from marsmith.core.errors import MarsmithError
from marsmith.gateway.answering import answer_response
from marsmith.gateway.backend import Backend
from marsmith.gateway.problems import problem
from marsmith.gateway.reading import read_call, request_id
from marsmith.gateway.refusals import GatewayError, handler_refused

_METHODS = ("POST", "PUT")
# So that TorchServe's management, which takes any path below /models, does not answer here.
_ALL = [*_METHODS, "GET", "HEAD", "DELETE", "PATCH", "OPTIONS"]


def routes(backend: Backend) -> list[BaseRoute]:
    """Return the routes of this face."""

    async def predict(http: Request) -> Response:
        if http.method not in _METHODS:
            return _other_method(http)
        model, version = http.path_params["model"], http.path_params.get("version")
        try:
            answer = await backend.predict(await read_call(http, model, version))
        except MarsmithError as error:
            return problem(error, request_id(http))
        if not answer.response.ok:
            return problem(handler_refused(answer.response), request_id(http))
        return answer_response(answer, {"x-request-id": request_id(http)})

    return [
        Route("/models/{model}/predict", predict, methods=_ALL),
        Route("/models/{model}/versions/{version}/predict", predict, methods=_ALL),
    ]


def _other_method(http: Request) -> Response:
    error = GatewayError(
        f"{http.method} asks no model",
        "send the input with POST, or with PUT as curl -T does",
        code="no-such-path",
        status=405,
    )
    response = problem(error, request_id(http))
    response.headers["allow"] = ", ".join(_METHODS)
    return response
