"""The Open Inference Protocol, version 2 of KServe's, over HTTP: health, metadata, inference."""

from __future__ import annotations

from dataclasses import asdict

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from marsmith.gateway.backend import Backend
from marsmith.gateway.kserve_answers import JSON, answering, is_ready, said
from marsmith.gateway.oip_messages import read_request, written
from marsmith.gateway.oip_models import (
    index,
    infer,
    is_server_ready,
    model_metadata,
    server_metadata,
)
from marsmith.gateway.reading import read_call

_LENGTH = "Inference-Header-Content-Length"


def routes(backend: Backend) -> list[BaseRoute]:
    """Return the routes of this face."""

    @answering
    async def server(_: HttpRequest) -> Response:
        return said(server_metadata())

    @answering
    async def live(_: HttpRequest) -> Response:
        return said({"live": True})

    @answering
    async def ready(_: HttpRequest) -> Response:
        up = await is_server_ready(backend)
        return said({"ready": up}, 200 if up else 503)

    @answering
    async def listed(_: HttpRequest) -> Response:
        return said(await index(backend))

    @answering
    async def metadata(http: HttpRequest) -> Response:
        return said(asdict(await model_metadata(backend, *_named(http))))

    @answering
    async def model_ready(http: HttpRequest) -> Response:
        model, version = _named(http)
        up = await is_ready(backend, model, version)
        return said({"name": model, "ready": up}, 200 if up else 503)

    @answering
    async def inferred(http: HttpRequest) -> Response:
        call = await read_call(http, *_named(http))
        request = read_request(call.request.body, http.headers.get(_LENGTH))
        body, json_length = written(await infer(backend, call, request))
        if json_length is None:
            return Response(body, media_type=JSON)
        return Response(body, 200, {_LENGTH: str(json_length)}, "application/octet-stream")

    inner: list[BaseRoute] = [
        Route("/", server, methods=["GET"]),
        Route("/health/live", live, methods=["GET"]),
        Route("/health/ready", ready, methods=["GET"]),
        Route("/repository/index", listed, methods=["POST"]),
    ]
    for place in ("/models/{model}", "/models/{model}/versions/{version}"):
        inner += [
            Route(place + "/infer", inferred, methods=["POST"]),
            Route(place + "/ready", model_ready, methods=["GET"]),
            Route(place, metadata, methods=["GET"]),
        ]
    return [Route("/v2", server, methods=["GET"]), Mount("/v2", routes=inner)]


def _named(http: HttpRequest) -> tuple[str, str | None]:
    return http.path_params["model"], http.path_params.get("version")
