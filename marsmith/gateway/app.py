"""The ASGI application: faces over one back end, behind what lets requests in."""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Scope

from marsmith.core.errors import MarsmithError
from marsmith.gateway import kserve_v1, oip, predicting
from marsmith.gateway.access.admitted import admitted
from marsmith.gateway.access.guards import Guards
from marsmith.gateway.access.let_in import Access
from marsmith.gateway.access.observe import Observe
from marsmith.gateway.backend import Backend
from marsmith.gateway.kserve_answers import refusal as kserve_refusal
from marsmith.gateway.problems import problem
from marsmith.gateway.reading import request_id
from marsmith.gateway.refusals import GatewayError
from marsmith.gateway.torchserve_api import inference, management, openapi
from marsmith.gateway.torchserve_api.errors import refused
from marsmith.gateway.torchserve_api.messages import error_response

Face = Callable[[Backend], list[BaseRoute]]
Form = Callable[[MarsmithError, Request], Response]
# In the order in which they are looked through.
FACES: list[Face] = [
    predicting.routes,
    inference.routes,
    management.routes,
    kserve_v1.routes,
    oip.routes,
    lambda _: openapi.routes("inference", "management"),
]
# How a face (Facts.face) says that a request was not let in; others by problem details.
FORMS: dict[str, Form] = {
    "torchserve": lambda error, http: error_response(refused(error), http),
    "kserve": lambda error, _: kserve_refusal(error),
    "oip": lambda error, _: kserve_refusal(error),
}


def application(
    backend: Backend, guards: Guards | None = None, faces: list[Face] | None = None
) -> ASGIApp:
    """Return the application of one listener, by default the gateway's own port with all faces."""
    guards = guards or Guards()
    seen = admitted(backend, guards.metrics, needs_keys=guards.rules.needs_keys)
    routes = [route for face in faces or FACES for route in face(seen)]
    routes += guards.metrics.routes(backend)
    handlers = {HTTPException: _no_route, MarsmithError: _refused, Exception: _bug}
    app: ASGIApp = Starlette(routes=routes, exception_handlers=handlers)
    app = Access(app, guards.rules, guards.keys, _not_let_in)
    return Observe(app, guards.metrics, guards.log, guards.spans)


def _not_let_in(error: GatewayError, scope: Scope) -> Response:
    http = Request(scope)
    face = scope["state"]["facts"].face
    response = FORMS[face](error, http) if face in FORMS else problem(error, request_id(http))
    response.headers["x-request-id"] = request_id(http)
    return response


async def _refused(http: Request, error: Exception) -> Response:
    if not isinstance(error, GatewayError):
        return await _bug(http, error)
    return _not_let_in(error, http.scope)


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
