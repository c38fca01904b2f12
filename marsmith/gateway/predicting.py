"""The gateway's own way to ask a model: POST /models/NAME[/versions/VERSION]/predict.

Most requests come here, so that no table of routes is looked through for them.
"""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from marsmith.core.errors import MarsmithError
from marsmith.gateway.answering import answer_response
from marsmith.gateway.backend import Backend
from marsmith.gateway.problems import problem
from marsmith.gateway.reading import body_of, call_of, id_of_request
from marsmith.gateway.refusals import GatewayError, handler_refused

_METHODS = ("POST", "PUT")


class Predicting:
    """Answers these paths, with any method: TorchServe's management takes all below /models."""

    def __init__(self, backend: Backend, others: ASGIApp) -> None:
        """`others` answers all other paths."""
        self._backend = backend
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        match scope["path"].split("/"):
            case ["", "models", model, "predict"] if model:
                response = await self._answer(scope, receive, model, None)
            case ["", "models", model, "versions", version, "predict"] if model and version:
                response = await self._answer(scope, receive, model, version)
            case _:
                await self._others(scope, receive, send)
                return
        await response(scope, receive, send)

    async def _answer(
        self, scope: Scope, receive: Receive, model: str, version: str | None
    ) -> Response:
        request_id = id_of_request(scope)
        if scope["method"] not in _METHODS:
            return _other_method(scope["method"], request_id)
        body = await body_of(receive)
        try:
            answer = await self._backend.predict(call_of(scope, body, model, version))
        except MarsmithError as error:
            return problem(error, request_id)
        if not answer.response.ok:
            return problem(handler_refused(answer.response), request_id)
        return answer_response(answer, {"x-request-id": request_id})


def _other_method(method: str, request_id: str) -> Response:
    error = GatewayError(
        f"{method} asks no model",
        "send the input with POST, or with PUT as curl -T does",
        code="no-such-path",
        status=405,
    )
    response = problem(error, request_id)
    response.headers["allow"] = ", ".join(_METHODS)
    return response
