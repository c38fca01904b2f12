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
from marsmith.gateway.access import metrics_page
from marsmith.gateway.access.admitted import Admitted
from marsmith.gateway.access.facts import Facts
from marsmith.gateway.access.guards import Guards
from marsmith.gateway.access.let_in import Access
from marsmith.gateway.access.observe import Observe
from marsmith.gateway.backend import Backend
from marsmith.gateway.kserve import oip, v1
from marsmith.gateway.kserve.answers import refusal as kserve_refusal
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
# How a face (Facts.face) says that a request was not let in; others by problem details.
FORMS: dict[str, Form] = {
    "torchserve": messages.refusal,
    "kserve": lambda error, _: kserve_refusal(error),
    "oip": lambda error, _: kserve_refusal(error),
}


def admitted(backend: Backend, guards: Guards) -> Admitted:
    """Return the back end as faces see it."""
    return Admitted(backend, guards.metrics, needs_keys=guards.rules.needs_keys)


def application(
    backend: Backend, guards: Guards | None = None, listener: str = "gateway"
) -> ASGIApp:
    """Return the application of a listener: the gateway's own port, or one of TorchServe's."""
    guards = guards or Guards()
    front = admitted(backend, guards)
    metrics = metrics_page.routes(backend, guards.metrics)
    if listener == "gateway":
        routes = [*(route for face in FACES for route in face(front)), *metrics]
    else:
        kserve = [route for face in KSERVE for route in face(front)]
        routes = ports.listeners(front, kserve, metrics)[listener]
    app: ASGIApp = Starlette(
        routes=routes, exception_handlers={HTTPException: _no_route, Exception: _bug}
    )
    app = Access(app, guards.rules, guards.keys, _refused)
    return Observe(app, guards.metrics, guards.log, guards.spans)


def _refused(error: GatewayError, facts: Facts) -> Response:
    form = FORMS.get(facts.face)
    if form is None:
        return problem(error, facts.id)
    response = form(error, facts.id)
    response.headers["x-request-id"] = facts.id
    return response


async def _no_route(http: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    refusal = GatewayError(
        f"nothing answers {http.method} {http.url.path}",
        "see the paths of the gateway in its documentation",
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
