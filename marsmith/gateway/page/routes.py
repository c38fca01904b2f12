"""The face for people: GET /, /docs, /openapi.json, and what the page reads."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from marsmith import __version__
from marsmith.core.errors import MarsmithError
from marsmith.gateway.backend import Backend
from marsmith.gateway.document.bodies import BYTES, media_type
from marsmith.gateway.document.forms import Forms, forms_of
from marsmith.gateway.document.openapi import document
from marsmith.gateway.page.descriptions import described
from marsmith.gateway.page.preference import prefers_page
from marsmith.gateway.problems import problem
from marsmith.gateway.reading import request_id
from marsmith.gateway.refusals import GatewayError

_STATIC = Path(__file__).with_name("static")
# Beside the policy of all pages of the gateway: no style but the page's own file.
_STRICT = {"content-security-policy": "style-src 'self'", "vary": "accept"}
_FRESH = {"cache-control": "no-cache"}
Answering = Callable[[Request, Backend], Awaitable[Response]]


def routes(backend: Backend, root: Mapping[str, Any], certificate: str = "") -> list[BaseRoute]:
    """Return the routes of this face; what GET / tells programs begins with `root`.

    `certificate` is the one that programs must be told to trust, if any.
    """

    def get(path: str, answer: Answering) -> Route:
        async def endpoint(http: Request) -> Response:
            try:
                return await answer(http, backend)
            except MarsmithError as error:
                return problem(error, request_id(http))

        return Route(path, endpoint, methods=["GET"])

    return [
        get("/", partial(_root, root)),
        get("/docs", _docs),
        get("/openapi.json", _openapi),
        get("/page/models", partial(_models, certificate)),
        get("/models/{model}/samples/{number:int}/{part}", _sample),
        Mount("/page", _Files(directory=_STATIC)),
    ]


async def _what_there_is(backend: Backend) -> dict[str, Any]:
    names = {one.name: None for one in await backend.models()}
    return {
        "name": "marsmith",
        "version": __version__,
        "models": [f"/models/{name}/predict" for name in names],
        "documentation": "/docs",
        "openapi": "/openapi.json",
    }


async def _root(root: Mapping[str, Any], http: Request, backend: Backend) -> Response:
    if prefers_page(http.headers.get("accept", "")):
        return FileResponse(_STATIC / "index.html", headers=_STRICT | _FRESH)
    return JSONResponse({**root, **await _what_there_is(backend)}, headers={"vary": "accept"})


async def _docs(_http: Request, _backend: Backend) -> Response:
    return FileResponse(_STATIC / "docs.html", headers=_FRESH)


async def _openapi(_http: Request, backend: Backend) -> Response:
    return JSONResponse(document(await _forms(backend)), headers=_FRESH)


async def _models(certificate: str, _http: Request, backend: Backend) -> Response:
    found = await _forms(backend)
    models = [described(name, forms) for name, forms in found.items()]
    return JSONResponse({"models": models, "certificate": certificate}, headers=_FRESH)


async def _forms(backend: Backend) -> dict[str, Forms]:
    """Return what the default versions of all models take and give."""
    names = [one.name for one in await backend.models() if one.default]
    return {name: await forms_of(backend.archive(name)) for name in names}


async def _sample(http: Request, backend: Backend) -> Response:
    model, number = http.path_params["model"], http.path_params["number"]
    archive = backend.archive(model)
    samples = archive.samples if archive else ()
    part = {"request": "request", "answer": "response"}.get(http.path_params["part"])
    if archive is None or part is None or number >= len(samples):
        raise GatewayError(
            f"{model} has no sample at {http.url.path}",
            f"see /openapi.json; there are {len(samples)}, from 0 on",
            code="no-such-path",
            status=404,
        )
    body = await asyncio.to_thread(archive.read, getattr(samples[number], part))
    kind = media_type(body)
    # Only pictures are shown by a browser as what they are: an archive may come from others.
    shown = kind if kind.startswith("image/") else f"{kind}; charset=utf-8"
    return Response(body, media_type=BYTES if kind == BYTES else shown)


class _Files(StaticFiles):
    """Files that browsers ask about each time, so that a new version is seen at once."""

    def file_response(self, full_path: Any, *given: Any, **named: Any) -> Response:
        """Return a file."""
        response = super().file_response(os.fspath(full_path), *given, **named)
        response.headers.update(_FRESH)
        return response
