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
from marsmith.gateway.backend import Backend
from marsmith.gateway.reading import read_call
from marsmith.gateway.torchserve_api.errors import Refused, nothing_here, wrong_method
from marsmith.gateway.torchserve_api.managing import Managing, Outcome
from marsmith.gateway.torchserve_api.messages import (
    Parameters,
    TorchServeEndpoint,
    json_response,
    segments_of,
)
from marsmith.gateway.torchserve_api.openapi import management_description

_PAGE = 100  # models


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
            case [model, version, "set-default"] if http.method == "PUT":
                return _told(await self._managing.set_default(model, version), http)
            case [_, _, "set-default"]:
                raise wrong_method()
        raise nothing_here()

    async def _of_all(self, http: Request) -> Response:
        query = Parameters.of_query(http)
        if http.method == "GET":
            limit, token = query.number("limit"), query.number("next_page_token")
            page = await self._managing.models(_PAGE if limit is None else limit, token or 0)
            return json_response(page, http)
        if http.method == "POST" and self._managing.may_register:
            kind = http.headers.get("content-type", "").partition(";")[0].strip().lower()
            given = _parameters(await http.body()) if kind == "application/json" else query
            return _told(await self._managing.register(given), http)
        raise wrong_method()

    async def _of_version(self, http: Request, model: str, version: str | None) -> Response:
        query = Parameters.of_query(http)
        match http.method:
            case "GET" if query.flag("customized") and version != "all":
                return await self._customized(http, model, version)
            case "GET":
                return json_response(await self._managing.describe(model, version), http)
            case "PUT":
                return _told(await self._managing.scale(model, version, query), http)
            case "DELETE" if self._managing.may_register:
                return _told(await self._managing.unregister(model, version), http)
            case "OPTIONS":
                await self._managing.describe(model, version)
                return json_response(management_description(model), http)
        raise wrong_method()

    async def _customized(self, http: Request, model: str, version: str | None) -> Response:
        call = await read_call(http, model, version)
        asked = Asked(b"", "", {**call.request.headers, "describe": "True"})
        values, answer = await self._managing.customized(replace(call, request=asked))
        response = json_response(values, http, answer.response.status)
        response.headers.update(header_pairs(answer.response.headers))
        return response


def _parameters(body: bytes) -> Parameters:
    try:
        values: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"The body is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise Refused(400, "The body is not a JSON object.")
    return Parameters(values)


def _told(outcome: Outcome, http: Request) -> Response:
    status, words = outcome
    return json_response({"status": words}, http, status)
