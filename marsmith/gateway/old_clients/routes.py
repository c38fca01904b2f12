"""The face of existing clients: routes and redirects of `[gateway]`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from marsmith.answers.messages import Response as HandlersResponse
from marsmith.core.errors import MarsmithError
from marsmith.gateway.answering import header_pairs
from marsmith.gateway.backend import Backend
from marsmith.gateway.observe.facts import CURRENT
from marsmith.gateway.old_clients import writing
from marsmith.gateway.old_clients.reading import NO_INPUT, model_request
from marsmith.gateway.old_clients.route import ClientRoute, routes_of
from marsmith.gateway.reading import read_call, request_id
from marsmith.gateway.refusals import handler_refused

# Keys and limits keep their own answers, whatever a route says of failures.
_OWN_STATUS = {401, 403, 413, 429}
# A handler may answer with such a status, too: that is a failure of the route.
_OF_HANDLERS = {"handler-refused", "handler-failed"}


def routes(backend: Backend, table: Mapping[str, Any]) -> list[BaseRoute]:
    """Return what the table `[gateway]` adds to the gateway's own paths."""
    endpoints = [_Endpoint(backend, one) for one in routes_of(table)]
    redirects = table.get("redirects", {})
    return [
        *(Route(one.route.path, one.answer, methods=["POST"]) for one in endpoints),
        *(Route(path, _redirect(target)) for path, target in redirects.items()),
    ]


def _redirect(target: str) -> Any:
    async def answer(_: HttpRequest) -> Response:
        return RedirectResponse(target)

    return answer


class _Endpoint:
    def __init__(self, backend: Backend, route: ClientRoute) -> None:
        self._backend = backend
        self.route = route

    async def answer(self, http: HttpRequest) -> Response:
        """Answer a request in the form that the route has."""
        headers = {"x-request-id": request_id(http)}
        if facts := CURRENT.get():
            facts.face = "route"
        try:
            said = await self._asked(http)
            written = writing.written(self.route, said)
        except MarsmithError as error:
            return self._failed(http, error, headers)
        return writing.sent(self.route, written, {**header_pairs(said.headers), **headers})

    async def _asked(self, http: HttpRequest) -> HandlersResponse:
        """Return the handler's whole answer."""
        call = await read_call(http, self.route.model, self.route.version)
        request = model_request(self.route, call.request)
        answer = await self._backend.predict(replace(call, request=request, told={}))
        said = await answer.whole()
        if not said.ok:
            raise handler_refused(said)
        return said

    def _failed(
        self, http: HttpRequest, error: MarsmithError, headers: Mapping[str, str]
    ) -> Response:
        """Return what the route says of a failure; without that, problem details."""
        template = self.route.missing if error.code == NO_INPUT else None
        template = template or self.route.failure
        if template is None or _is_own(error):
            told = writing.problem_details(error, request_id(http))
        else:
            told = writing.fixed(template, error)
        again = getattr(error, "retry_after", None)
        retry = {} if again is None else {"retry-after": str(again)}
        return writing.sent(self.route, told, {**headers, **retry})


def _is_own(error: MarsmithError) -> bool:
    return error.code not in _OF_HANDLERS and getattr(error, "status", 400) in _OWN_STATUS
