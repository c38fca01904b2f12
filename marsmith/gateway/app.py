"""The ASGI application: faces over one back end, behind what lets requests in."""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from marsmith.core.errors import MarsmithError
from marsmith.gateway import predicting
from marsmith.gateway.access.guards import Guards
from marsmith.gateway.access.let_in import Access
from marsmith.gateway.backend import Backend
from marsmith.gateway.kserve import answers, oip, v1
from marsmith.gateway.observe.facts import Facts
from marsmith.gateway.observe.observe import Observe
from marsmith.gateway.problems import problem
from marsmith.gateway.reading import request_id
from marsmith.gateway.refusals import GatewayError
from marsmith.gateway.torchserve_api import inference, management, messages, openapi, ports

Face = Callable[[Backend], list[BaseRoute]]
Form = Callable[[MarsmithError, str], Response]
KSERVE: list[Face] = [v1.routes, oip.routes]
# In the order in which they are looked through.
FACES: list[Face] = [
    predicting.routes,
    inference.routes,
    management.routes,
    *KSERVE,
    lambda _: openapi.routes("inference", "management"),
]


def _in_kserve_form(error: MarsmithError, _request_id: str) -> Response:
    values = {"error": answers.sentence(error), "code": error.code}
    return answers.said(values, answers.status_of(error))


# How a face (Facts.face) says that a request was not let in; others by problem details.
FORMS: dict[str, Form] = {
    "torchserve": messages.refusal,
    "kserve": _in_kserve_form,
    "oip": _in_kserve_form,
}


def application(
    backend: Backend, guards: Guards | None = None, listener: str = "gateway"
) -> ASGIApp:
    """Return the application of a listener: the gateway's own port, or one of TorchServe's."""
    guards = guards or Guards()
    front = guards.admitted(backend)
    metrics = guards.observer.metrics.routes(backend)
    if listener == "gateway":
        routes = [*(route for face in FACES for route in face(front)), *metrics]
    else:
        kserve = [route for face in KSERVE for route in face(front)]
        routes = ports.listeners(front, kserve, metrics)[listener]
    handlers = {HTTPException: _no_route, MarsmithError: _refused, Exception: _bug}
    app = Starlette(routes=routes, exception_handlers=handlers)
    return Observe(Access(app, guards.gate, _not_let_in), guards.observer)


def _not_let_in(error: GatewayError, facts: Facts) -> Response:
    response = FORMS.get(facts.face, problem)(error, facts.id)
    response.headers["x-request-id"] = facts.id
    if error.retry_after is not None:
        response.headers["retry-after"] = str(error.retry_after)
    return response


async def _refused(http: Request, error: Exception) -> Response:
    if not isinstance(error, GatewayError):
        return await _bug(http, error)
    return _not_let_in(error, http.scope["state"]["facts"])


async def _no_route(http: Request, error: Exception) -> Response:
    status, headers = getattr(error, "status_code", 500), getattr(error, "headers", None)
    refusal = GatewayError(
        f"nothing answers {http.method} {http.url.path}",
        "see GET /models for what is served, and docs for the paths",
        code="no-such-path",
        status=status,
    )
    response = problem(refusal, request_id(http))
    response.headers.update(headers or {})
    return response


async def _bug(http: Request, error: Exception) -> Response:
    """Answer; uvicorn writes the traceback into the server's log."""
    refusal = GatewayError(
        f"{type(error).__name__} in the gateway",
        "this is a bug in Marsmith: report what marsmith logs shows of this request",
        code="bug",
        status=500,
    )
    return problem(refusal, request_id(http))
