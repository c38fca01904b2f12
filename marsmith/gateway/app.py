"""The ASGI application: faces over one back end, behind what lets requests in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from marsmith.core.errors import MarsmithError
from marsmith.gateway.access.guards import Guards
from marsmith.gateway.access.let_in import Access
from marsmith.gateway.backend import Backend
from marsmith.gateway.jobs.face import JobsFace
from marsmith.gateway.kserve import answers, oip, v1
from marsmith.gateway.observe.facts import Facts
from marsmith.gateway.observe.observe import Observe
from marsmith.gateway.old_clients import routes as old_clients
from marsmith.gateway.page import routes as page
from marsmith.gateway.predicting import Predicting
from marsmith.gateway.problems import problem
from marsmith.gateway.refusals import GatewayError
from marsmith.gateway.torchserve_api import inference, management, messages, openapi, ports

Face = Callable[[Backend], list[BaseRoute]]
Form = Callable[[MarsmithError, str], Response]
KSERVE: list[Face] = [v1.routes, oip.routes]
# In the order in which they are looked through.
FACES: list[Face] = [
    inference.routes,
    management.routes,
    *KSERVE,
    lambda _: openapi.routes("inference", "management"),
]


def _in_kserve_form(error: MarsmithError, _request_id: str) -> Response:
    return answers.refusal(error)


# How a face (Facts.face) says that a request was not let in; others by problem details.
FORMS: dict[str, Form] = {
    "torchserve": messages.refusal,
    "kserve": _in_kserve_form,
    "oip": _in_kserve_form,
}


def application(
    backend: Backend,
    guards: Guards | None = None,
    listener: str = "gateway",
    table: Mapping[str, Any] | None = None,
    jobs: JobsFace | None = None,
    certificate: str = "",
) -> ASGIApp:
    """Return the application of a listener: the gateway's own port, or one of TorchServe's.

    `table` is [gateway] of archives.toml; `certificate` is the development certificate, if used.
    """
    guards = guards or Guards()
    front = guards.admitted(backend)
    metrics = guards.observer.metrics.routes(backend)
    if listener == "gateway":
        routes = [
            *page.routes(front, (table or {}).get("root", {}), certificate),
            *(jobs.routes() if jobs else []),
        ]
        routes += [*(route for face in FACES for route in face(front)), *metrics]
        routes += old_clients.routes(front, table or {})
    else:
        kserve = [route for face in KSERVE for route in face(front)]
        routes = ports.listeners(front, kserve, metrics)[listener]
    app: ASGIApp = _Faces(routes)
    if listener == "gateway":
        app = Predicting(front, app)
        if jobs is not None:
            app = jobs.around(app)
    return Observe(Access(app, guards.gate, _refused), guards.observer)


class _Faces(Router):
    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self  # so that what no route answers is raised, as an HTTPException
        await super().app(scope, receive, send)


def _refused(error: Exception, facts: Facts) -> Response:
    if isinstance(error, HTTPException):
        response = problem(_no_route(error, facts), facts.id)
        response.headers.update(error.headers or {})
        return response
    if not isinstance(error, GatewayError):
        return problem(_bug(error), facts.id)
    response = FORMS.get(facts.face, problem)(error, facts.id)
    response.headers["x-request-id"] = facts.id
    if error.retry_after is not None:
        response.headers["retry-after"] = str(error.retry_after)
    return response


def _no_route(error: HTTPException, facts: Facts) -> GatewayError:
    return GatewayError(
        f"nothing answers {facts.method} {facts.path}",
        "see GET /models for what is served, and docs for the paths",
        code="no-such-path",
        status=error.status_code,
    )


def _bug(error: Exception) -> GatewayError:
    return GatewayError(
        f"{type(error).__name__} in the gateway",
        "this is a bug in Marsmith: report what marsmith logs shows of this request",
        code="bug",
        status=500,
    )
