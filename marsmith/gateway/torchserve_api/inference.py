"""TorchServe's inference API over HTTP (InferenceRequestHandler.java)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from marsmith.core.errors import MarsmithError
from marsmith.gateway.answering import answer_response
from marsmith.gateway.backend import Backend
from marsmith.gateway.reading import read_call
from marsmith.gateway.torchserve_api.errors import Refused, nothing_here, refused
from marsmith.gateway.torchserve_api.messages import (
    NEVER_CACHED,
    Parameters,
    TorchServeEndpoint,
    json_response,
    segments_of,
)
from marsmith.gateway.torchserve_api.openapi import inference_description

_PATHS = """
/predictions/{rest:path} /predictions /explanations/{rest:path} /explanations /ping
/ping/{rest:path} /invocations /models/{model}/invoke /{model}/predict /{model}/{version}/predict
"""


def routes(backend: Backend) -> list[BaseRoute]:
    """Return the routes of this face."""
    endpoint = TorchServeEndpoint(InferenceAPI(backend).answer)
    return [Route(path, endpoint) for path in _PATHS.split()]


class InferenceAPI:
    """Reads a request, and asks the back end."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def answer(self, http: Request) -> Response:
        """Answer any request of _PATHS. Raises Refused."""
        match segments_of(http):
            case ["predictions" | "explanations" as task, model, *rest]:
                version = rest[0] if rest else None
                path = "/".join(rest[1:])
                return await self._predict(http, model, version, path, task == "explanations")
            case ["ping", *_]:
                healthy = await self._backend.health() == "Healthy"
                said = {"status": "Healthy" if healthy else "Unhealthy"}
                return json_response(said, http, 200 if healthy else 500)
            case ["invocations"]:
                return await self._predict(http, await self._only_model(http))
            case ["models", model, "invoke"] | [model, "predict"]:
                return await self._predict(http, model)
            case [model, version, "predict"]:
                return await self._predict(http, model, version)
        raise nothing_here()

    async def _predict(
        self,
        http: Request,
        model: str,
        version: str | None = None,
        path: str = "",
        explain: bool = False,
    ) -> Response:
        call = await read_call(http, model, version, explain=explain, path=path)
        try:
            if http.method == "OPTIONS":
                await self._backend.describe(model, version)
                return json_response(inference_description(model), http)
            answer = await self._backend.predict(call)
        except MarsmithError as error:
            raise refused(error, model, version) from error
        return answer_response(answer, {"x-request-id": call.id, **NEVER_CACHED})

    async def _only_model(self, http: Request) -> str:
        """Return the model that /invocations means: the named one, or the only one."""
        if named := Parameters.of_query(http).text("model_name"):
            return named
        names = {one.name for one in await self._backend.models()}
        if len(names) != 1:
            raise Refused(400, "Parameter model_name is required.")
        return names.pop()
