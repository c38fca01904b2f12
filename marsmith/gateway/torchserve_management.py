"""TorchServe's management API over HTTP (ManagementRequestHandler.java)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from marsmith.answers.messages import Request as Asked
from marsmith.gateway.answering import header_pairs
from marsmith.gateway.backend import Backend, Registration
from marsmith.gateway.reading import read_call, request_id
from marsmith.gateway.torchserve_api import management_description
from marsmith.gateway.torchserve_errors import (
    Refused,
    json_response,
    nothing_here,
    wrong_method,
)
from marsmith.gateway.torchserve_managing import Managing, Outcome
from marsmith.gateway.torchserve_paths import Parameters, TorchServeEndpoint, segments_of

_DEFAULT_PAGE = 100


def routes(backend: Backend) -> list[BaseRoute]:
    """Return the routes of this face."""
    endpoint = TorchServeEndpoint(ManagementAPI(Managing(backend)).answer)
    return [Route("/models", endpoint), Route("/models/{rest:path}", endpoint)]


class ManagementAPI:
    """Reads a request, and has it done."""

    def __init__(self, managing: Managing) -> None:
        self._managing = managing

    async def answer(self, http: Request) -> Response:
        """Answer any request below /models. Raises Refused."""
        match segments_of(http)[1:]:
            case []:
                return await self._of_all(http)
            case [model]:
                return await self._of_version(http, model, None)
            case [model, version]:
                return await self._of_version(http, model, version)
            case [model, version, "set-default"]:
                if http.method != "PUT":
                    raise wrong_method()
                return _told(await self._managing.set_default(model, version), http)
        raise nothing_here()

    async def _of_all(self, http: Request) -> Response:
        if http.method == "GET":
            return await self._list(http)
        if http.method == "POST" and self._managing.may_register:
            return _told(await self._register(http), http)
        raise wrong_method()

    async def _of_version(self, http: Request, model: str, version: str | None) -> Response:
        match http.method:
            case "GET":
                return await self._describe(http, model, version)
            case "PUT":
                return _told(await self._scale(http, model, version), http)
            case "DELETE" if self._managing.may_register:
                return _told(await self._managing.unregister(model, version), http)
            case "OPTIONS":
                await self._managing.describe(model, version)
                return json_response(management_description(model), request_id(http))
        raise wrong_method()

    async def _list(self, http: Request) -> Response:
        query = Parameters.of_query(http)
        limit, token = query.number("limit"), query.number("next_page_token")
        page = await self._managing.models(_DEFAULT_PAGE if limit is None else limit, token or 0)
        return json_response(page, request_id(http))

    async def _describe(self, http: Request, model: str, version: str | None) -> Response:
        if version == "all" or not Parameters.of_query(http).flag("customized"):
            return json_response(await self._managing.describe(model, version), request_id(http))
        call = await read_call(http, model, version)
        asked = Asked(b"", "", {**call.request.headers, "describe": "True"})
        values, answer = await self._managing.customized(replace(call, request=asked))
        response = json_response(values, request_id(http), answer.response.status)
        response.headers.update(header_pairs(answer.response.headers))
        return response

    async def _register(self, http: Request) -> Outcome:
        kind = http.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/json":
            given = Parameters(_object(await http.body()))
        else:
            given = Parameters.of_query(http)
        return await self._managing.register(registration(given), given.text("runtime"))

    async def _scale(self, http: Request, model: str, version: str | None) -> Outcome:
        query = Parameters.of_query(http)
        least, most = query.number("min_worker"), query.number("max_worker")
        least = 1 if least is None else least
        return await self._managing.scale(
            model,
            query.text("model_version") if version is None else version,
            least,
            least if most is None else most,
            wait=query.flag("synchronous"),
        )


def registration(given: Parameters) -> Registration:
    """Read the parameters of a registration; numbers below 1 stand for the defaults."""

    def number(name: str) -> int | None:
        value = given.number(name)
        return value if value is not None and value > 0 else None

    return Registration(
        given.text("url") or "",
        model_name=given.text("model_name"),
        handler=given.text("handler"),
        batch_size=number("batch_size"),
        max_batch_delay=number("max_batch_delay"),
        response_timeout=number("response_timeout"),
        startup_timeout=number("startup_timeout"),
        initial_workers=number("initial_workers"),
        synchronous=given.flag("synchronous", default=True),
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"The body is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise Refused(400, "The body is not a JSON object.")
    return values


def _told(outcome: Outcome, http: Request) -> Response:
    status, words = outcome
    return json_response({"status": words}, request_id(http), status)
